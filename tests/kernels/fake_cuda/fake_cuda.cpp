// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "extract_targets.h"
#include "residual_block.h"
#include "standardise.h"

using Work = std::function<void()>;

struct FakeStream {
  int device = 0;
  std::deque<Work> waiting;
  std::uint64_t queued = 0, done = 0;
  bool capturing = false;
  std::vector<Work> captured;
};
struct FakeEvent {
  int device = 0;
  bool timed = false;
  FakeStream* stream = nullptr;  // that it was recorded on last
  std::uint64_t place = 0;       // work of the stream that comes before it
  double at = 0.0;
};
struct FakeGraph {
  std::vector<Work> work;
};

namespace {

struct Block {
  std::size_t bytes;
  int device;
  bool host;
};

constexpr int kDevices = 2;
std::map<const char*, Block> blocks;
int current = 0;
long objects = 0;
double clock_ms = 0.0;
cudaError_t failure = cudaSuccess, last = cudaSuccess;

cudaError_t answer(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last = error;
  return error;
}

// Runs the work of a stream up to a place, and nothing more.
void run_until(FakeStream* stream, std::uint64_t place) {
  while (stream->done < place) {
    const Work work = std::move(stream->waiting.front());
    stream->waiting.pop_front();
    work();
    ++stream->done;
  }
}

void queue(FakeStream* stream, Work work) {
  if (stream->capturing) return stream->captured.push_back(std::move(work));
  stream->waiting.push_back(std::move(work));
  ++stream->queued;
}

const Block* block_of(const void* memory, std::size_t bytes) {
  const char* const at = static_cast<const char*>(memory);
  auto found = blocks.upper_bound(at);
  if (found == blocks.begin()) return nullptr;
  --found;
  return at + bytes <= found->first + found->second.bytes ? &found->second : nullptr;
}

// Whether one more piece of memory, stream, event or graph can be had.
bool granted() {
  long& grants = fake::control().grants;
  if (grants == 0) return false;
  if (grants > 0) --grants;
  return true;
}

cudaError_t allocate(void** memory, std::size_t bytes, bool host) {
  if (!granted()) return answer(cudaErrorMemoryAllocation);
  ++fake::control().memory;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*memory, 0xff, bytes);
  blocks[static_cast<const char*>(*memory)] = {bytes, current, host};
  return cudaSuccess;
}

cudaError_t give_back(void* memory) {
  if (memory != nullptr && blocks.erase(static_cast<const char*>(memory)) == 0) return answer(cudaErrorInvalidValue);
  std::free(memory);
  return cudaSuccess;
}

template <typename T>
cudaError_t make(T** made, long* counter) {
  if (!granted()) return answer(cudaErrorMemoryAllocation);
  *made = new T;
  (*made)->device = current;
  ++objects;
  ++*counter;
  return cudaSuccess;
}

template <typename T>
cudaError_t destroy(T* object) {
  --objects;
  delete object;
  return cudaSuccess;
}

}  // namespace

namespace fake {

Control& control() {
  static Control kept;
  return kept;
}

long alive() { return objects + static_cast<long>(blocks.size()); }

cudaStream_t stream_of_device(int device) {
  cudaSetDevice(device);
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, 0);
  cudaSetDevice(0);
  return stream;
}

void* memory_of_device(int device, std::size_t bytes) {
  cudaSetDevice(device);
  void* memory = nullptr;
  cudaMalloc(&memory, bytes);
  cudaSetDevice(0);
  return memory;
}

cudaError_t launch(cudaStream_t stream, double ms, Work work) {
  if (control().refused == 0) return answer(cudaErrorInvalidValue);
  if (control().refused > 0) --control().refused;
  if (stream->device != current) return answer(cudaErrorInvalidResourceHandle);
  ++control().launches;
  queue(stream, [ms, work = std::move(work)] {
    clock_ms += ms;
    if (control().broken) failure = cudaErrorIllegalAddress;
    if (control().compute && failure == cudaSuccess) work();
  });
  return cudaSuccess;
}

}  // namespace fake

cudaError_t cudaGetLastError() {
  const cudaError_t before = last;
  last = cudaSuccess;
  return before;
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorInvalidValue: return "invalid argument";
    default: return "another error";
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = fake::control().driver ? kDevices : 0;
  return answer(fake::control().driver ? cudaSuccess : cudaErrorInsufficientDriver);
}
cudaError_t cudaGetDevice(int* device) {
  *device = current;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return answer(cudaErrorInvalidDevice);
  current = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "Fake %d", device);
  properties->major = 7;
  properties->minor = 2;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, void (*)()) {
  return answer(fake::control().code ? cudaSuccess : cudaErrorNoKernelImageForDevice);
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) { return allocate(memory, bytes, false); }
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) { return allocate(memory, bytes, true); }
cudaError_t cudaFree(void* memory) { return give_back(memory); }
cudaError_t cudaFreeHost(void* memory) { return give_back(memory); }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const Block* const block = block_of(memory, 1);
  attributes->device = block == nullptr ? -2 : block->device;
  attributes->type = block == nullptr ? cudaMemoryTypeUnregistered
                     : block->host    ? cudaMemoryTypeHost
                                      : cudaMemoryTypeDevice;
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  if (block_of(to, bytes) == nullptr) return answer(cudaErrorInvalidValue);
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const void* const there = kind == cudaMemcpyDeviceToHost ? from : to;
  if (block_of(there, bytes) == nullptr) return answer(cudaErrorInvalidValue);
  queue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t bytes, std::size_t rows, cudaMemcpyKind, cudaStream_t stream) {
  if (block_of(to, to_pitch * rows) == nullptr) return answer(cudaErrorInvalidValue);
  queue(stream, [=] {
    for (std::size_t row = 0; row < rows; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return make(stream, &fake::control().streams); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return destroy(stream); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream->capturing) return answer(cudaErrorStreamCaptureUnsupported);
  run_until(stream, stream->queued);
  return answer(failure);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  FakeStream* const other = event->stream;
  const std::uint64_t place = event->place;
  if (other != nullptr) queue(stream, [=] { run_until(other, place); });
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  const cudaError_t made = make(event, &fake::control().events);
  if (made == cudaSuccess) (*event)->timed = true;
  return made;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return make(event, &fake::control().events); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return destroy(event); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event->device != stream->device) return answer(cudaErrorInvalidResourceHandle);
  queue(stream, [event] { event->at = clock_ms; });
  event->stream = stream;
  event->place = stream->queued;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream != nullptr) run_until(event->stream, event->place);
  return answer(failure);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  FakeStream* const stream = event->stream;
  if (stream != nullptr && stream->done < event->place) {
    run_until(stream, stream->done + 1);
    return cudaErrorNotReady;
  }
  return answer(failure);
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin->timed || !end->timed) return answer(cudaErrorInvalidResourceHandle);
  if (end->stream == nullptr || end->stream->done < end->place) return cudaErrorNotReady;
  *ms = static_cast<float>(end->at - begin->at);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capturing = true;
  stream->captured.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  stream->capturing = false;
  *graph = new FakeGraph{std::move(stream->captured)};
  ++objects;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  *made = new FakeGraph{graph->work};
  ++objects;
  ++fake::control().graphs;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return destroy(graph); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return destroy(graph); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  for (const Work& work : graph->work) queue(stream, work);
  return cudaSuccess;
}

// The launches of the kernels: their bodies, at the time of the stream and with the arguments of the launch.
namespace pitviper {
namespace {

template <typename Args>
Status later(const Args& args, void* stream, double ms, Status (*body)(const Args&)) {
  const cudaError_t error = fake::launch(static_cast<cudaStream_t>(stream), ms, [args, body] {
    if (!body(args).ok()) failure = cudaErrorIllegalAddress;
  });
  return error == cudaSuccess ? Status{} : Status{Status::kDeviceError, cudaGetErrorString(error)};
}

}  // namespace

Status standardiser::launch_cuda(const StandardiseArgs& args, void* stream) {
  return later(args, stream, 0.5, &standardiser::launch_host);
}
Status conv_block::launch_cuda(const ConvBlockArgs& args, void* stream) {
  return later(args, stream, 1.0, &conv_block::launch_host);
}
Status residual_block::launch_cuda(const ResidualBlockArgs& args, void* stream) {
  return later(args, stream, 2.0, &residual_block::launch_host);
}
Status extractor::launch_cuda(const ExtractTargetsArgs& args, void* stream) {
  return later(args, stream, 4.0, &extractor::launch_host);
}
}  // namespace pitviper
