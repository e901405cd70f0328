// SPDX-License-Identifier: Apache-2.0
// A CUDA device: every frame is a copy and one graph. No CUDA call allocates once a shape and type have been seen.
#include <cuda_runtime.h>

#include <cstring>
#include <new>

#include "conv_weights.h"
#include "cuda_archs.h"
#include "cuda_support.h"
#include "device.h"
#include "error.h"

namespace pitviper {
namespace {

constexpr std::size_t kMostGraphs = 16;

void require(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // so that the next call does not answer with this error
  const pv_status code = error == cudaErrorMemoryAllocation ? PV_MEMORY : PV_DEVICE;
  throw Error(code, std::string(what) + ": " + cudaGetErrorString(error));
}

void require(const Status& status, const char* what) {
  if (!status.ok()) throw Error(PV_DEVICE, std::string(what) + ": " + status.text);
}

// Makes a device current for a scope: the application's own choice comes back.
class Current {
 public:
  explicit Current(int device) {
    require(cudaGetDevice(&before_), "no CUDA device can be had");
    require(cudaSetDevice(device), "the CUDA device cannot be had");
  }
  // Where nothing may be thrown.
  Current(int device, std::nothrow_t) noexcept {
    cudaGetDevice(&before_);
    cudaSetDevice(device);
  }
  ~Current() { cudaSetDevice(before_); }

 private:
  int before_ = 0;
};

std::size_t sample_bytes(char type) { return type == 'B' ? 1 : type == 'f' ? 4 : 2; }

// The launches of one shape, sample type, threshold and slot.
struct Recorded {
  int slot, height, width;
  char type;
  double threshold;
  cudaGraphExec_t graph;
};

class CudaDevice final : public Device {
 public:
  // After an empty one, so that the destructor frees what there is where something cannot be had.
  CudaDevice(int index, Dtype dtype) : CudaDevice(index, dtype, std::nothrow) {
    const Current current(index_);
    cudaDeviceProp properties;
    require(cudaGetDeviceProperties(&properties, index_), "the CUDA device cannot be asked");
    name_ = "cuda:" + std::to_string(index_) + " " + properties.name;
    require(cudaStreamCreateWithFlags(&compute_, cudaStreamNonBlocking), "no CUDA stream can be had");
    require(cudaStreamCreateWithFlags(&copy_, cudaStreamNonBlocking), "no CUDA stream can be had");
    for (cudaEvent_t* event : {&given_, &copied_[0], &copied_[1], &done_[0], &done_[1]}) {
      require(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "no CUDA event can be had");
    }
  }

  ~CudaDevice() override {
    const Current current(index_, std::nothrow);
    forget();
    for (cudaEvent_t event : {given_, copied_[0], copied_[1], done_[0], done_[1]}) {
      if (event != nullptr) cudaEventDestroy(event);
    }
    for (cudaEvent_t event : marks_) cudaEventDestroy(event);
    for (cudaStream_t stream : {compute_, copy_}) {
      if (stream != nullptr) cudaStreamDestroy(stream);
    }
  }

  std::string name() const override { return name_; }
  Dtype dtype() const override { return dtype_; }
  bool copies_frames() const override { return true; }
  std::size_t scratch_bytes(const Program&) const override { return 0; }
  std::size_t weight_bytes(int out_channels, int in_channels, int kernel) const override {
    return packed_weight_count(out_channels, in_channels, kernel) * bytes_of(dtype_);
  }
  void pack(const float* weight, int out_channels, int in_channels, int kernel, void* packed) const override {
    pack_weights(weight, out_channels, in_channels, kernel, dtype_, packed);
  }

  void* allocate(std::size_t bytes, bool host_reads) override {
    const Current current(index_);
    void* memory = nullptr;
    const cudaError_t error =
        host_reads ? cudaHostAlloc(&memory, bytes, cudaHostAllocMapped) : cudaMalloc(&memory, bytes);
    require(error, host_reads ? "no pinned memory can be had" : "no memory of the GPU can be had");
    return memory;
  }

  void release(void* memory, bool host_reads) noexcept override {
    const Current current(index_, std::nothrow);
    if (host_reads) {
      cudaFreeHost(memory);
    } else {
      cudaFree(memory);
    }
  }

  void upload(void* to, const void* from, std::size_t bytes) override {
    const Current current(index_);
    // On the stream that reads them: a copy on the default stream may still be under way when it returns.
    require(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, compute_), "weights cannot be copied to the GPU");
    require(cudaStreamSynchronize(compute_), "weights cannot be copied to the GPU");
  }

  void prepared(bool moved) override {
    if (moved) forget();
  }

  void submit(int slot, const GivenFrame& frame, Program& program, const SlotMemory& memory) override {
    const Current current(index_);
    place(slot, frame, program, memory);
    require(cudaGraphLaunch(graph_of(slot, frame, program), compute_), "the frame's graph cannot be launched");
    require(cudaEventRecord(done_[slot], compute_), "the frame's end cannot be marked");
  }

  bool finished(int slot, bool wait) override {
    const Current current(index_);
    const cudaError_t error = wait ? cudaEventSynchronize(done_[slot]) : cudaEventQuery(done_[slot]);
    if (error == cudaErrorNotReady) return false;
    require(error, "the frame failed on the GPU");
    return true;
  }

  pv_clock clock() const override { return PV_CUDA_EVENTS; }

  // Not from the graph: an event stands behind every operation, and all are waited for at the end.
  void profile(const GivenFrame& frame, Program& program, const SlotMemory& memory, double* ms) override {
    const Current current(index_);
    const std::size_t operations = timed_operations(program);
    while (marks_.size() <= operations) {
      cudaEvent_t event = nullptr;
      require(cudaEventCreate(&event), "no CUDA event can be had");
      marks_.push_back(event);
    }
    place(0, frame, program, memory);
    std::size_t reached = 0;
    const auto mark = [&] { require(cudaEventRecord(marks_[reached++], compute_), "a launch cannot be marked"); };
    mark();
    launch_all(program, mark);
    require(cudaEventSynchronize(marks_[operations]), "the frame failed on the GPU");
    for (std::size_t at = 0; at < operations; ++at) {
      float between = 0.0f;
      require(cudaEventElapsedTime(&between, marks_[at], marks_[at + 1]), "the time of a launch cannot be read");
      ms[at] = between;
    }
  }

  void network(Program& program, const SlotMemory& memory, const float* standardised, MapKind kind,
               float* map) override {
    const Current current(index_);
    const std::size_t bytes = sizeof(float) * pixels(program);
    std::memcpy(memory.staging, standardised, bytes);
    require(cudaMemcpyAsync(program.standardise.output, memory.staging, bytes, cudaMemcpyHostToDevice, compute_),
            "the frame cannot be copied");
    for (Program::Launch launch : program.launches) {
      launch.conv.frame_dtype = launch.block.frame_dtype = Dtype::kFloat32;
      convolve(launch);
    }
    read_map(program, memory, kind, map);
  }

  void read_map(const Program& program, const SlotMemory& memory, MapKind kind, float* to) override {
    const Current current(index_);
    const void* const map = program.extract.map;
    require(cudaMemcpyAsync(memory.staging, map, sizeof(float) * pixels(program), cudaMemcpyDeviceToHost, compute_),
            "the map cannot be copied");
    require(cudaStreamSynchronize(compute_), "the map cannot be copied");
    copy_map(program.extract, memory.staging, kind, to);
  }

 private:
  CudaDevice(int index, Dtype dtype, std::nothrow_t) noexcept : index_(index), dtype_(dtype) {}

  static std::size_t pixels(const Program& program) {
    return static_cast<std::size_t>(program.standardise.out_height) *
           static_cast<std::size_t>(program.standardise.out_width);
  }

  void forget() {
    for (const Recorded& recorded : graphs_) cudaGraphExecDestroy(recorded.graph);
    graphs_.clear();
  }

  // Queues the copy of a frame, lets the launches wait for it, and fills in its address.
  void place(int slot, const GivenFrame& frame, Program& program, const SlotMemory& memory) {
    bring(frame, memory);
    require(cudaEventRecord(copied_[slot], copy_), "the frame's copy cannot be marked");
    require(cudaStreamWaitEvent(compute_, copied_[slot], 0), "the frame's copy cannot be waited for");
    const std::ptrdiff_t dense = static_cast<std::ptrdiff_t>(sample_bytes(frame.type)) * frame.width;
    program.standardise.frames = program.extract.frames = memory.frame;
    program.standardise.type = program.extract.frame_type = frame.type;
    program.standardise.row_bytes = program.extract.frame_row_bytes = dense;
    program.standardise.frame_bytes = program.extract.frame_bytes = dense * frame.height;
    program.extract.output = memory.records;
  }

  // Queues the copy of a frame into the slot's memory.
  void bring(const GivenFrame& frame, const SlotMemory& memory) {
    const std::size_t dense = sample_bytes(frame.type) * static_cast<std::size_t>(frame.width);
    const std::size_t rows = static_cast<std::size_t>(frame.height);
    if (frame.stream != nullptr) {
      require(cudaEventRecord(given_, static_cast<cudaStream_t>(frame.stream)),
              "the frame's stream cannot be waited for; it must belong to this detector's device");
      require(cudaStreamWaitEvent(copy_, given_, 0), "the frame's stream cannot be waited for");
    }
    if (frame.place == PV_GPU) check_owner(frame);
    if (frame.place == PV_PAGEABLE || frame.row_bytes < 0) {
      // Here the host reads the frame, and at once.
      if (frame.stream != nullptr) require(cudaEventSynchronize(given_), "the frame's stream failed on the GPU");
      for (std::size_t y = 0; y < rows; ++y) {
        std::memcpy(static_cast<char*>(memory.staging) + y * dense,
                    static_cast<const char*>(frame.data) + static_cast<std::ptrdiff_t>(y) * frame.row_bytes, dense);
      }
      require(cudaMemcpyAsync(memory.frame, memory.staging, dense * rows, cudaMemcpyHostToDevice, copy_),
              "the frame cannot be copied");
      return;
    }
    require(cudaMemcpy2DAsync(memory.frame, dense, frame.data, static_cast<std::size_t>(frame.row_bytes), dense, rows,
                              cudaMemcpyDefault, copy_),
            "the frame cannot be copied");
  }

  void check_owner(const GivenFrame& frame) const {
    if (frame.row_bytes < 0) throw Error(PV_FRAME, "a frame on a GPU must have its first row first");
    cudaPointerAttributes owner;
    require(cudaPointerGetAttributes(&owner, frame.data), "the frame's memory is not known to CUDA");
    if (owner.type == cudaMemoryTypeUnregistered) {
      throw Error(PV_DEVICE, "the frame's memory is not (or no longer) known to CUDA");
    }
    if (owner.type == cudaMemoryTypeDevice && owner.device != index_) {
      throw Error(PV_DEVICE, "the frame lies on cuda:" + std::to_string(owner.device) +
                                 ", this detector runs on cuda:" + std::to_string(index_));
    }
  }

  void convolve(const Program::Launch& launch) const {
    if (launch.residual) return require(residual_block::launch_cuda(launch.block, compute_), "residual_block");
    require(conv_block::launch_cuda(launch.conv, compute_), "conv_block");
  }

  // after_each() is called behind every operation.
  template <typename AfterEach>
  void launch_all(const Program& program, const AfterEach& after_each) const {
    require(standardiser::launch_cuda(program.standardise, compute_), "standardise");
    after_each();
    for (const Program::Launch& launch : program.launches) {
      convolve(launch);
      after_each();
    }
    require(extractor::launch_cuda(program.extract, compute_), "extract_targets");
    after_each();
  }

  cudaGraphExec_t graph_of(int slot, const GivenFrame& frame, const Program& program) {
    const double threshold = program.extract.threshold;
    for (const Recorded& known : graphs_) {
      if (known.slot == slot && known.height == frame.height && known.width == frame.width &&
          known.type == frame.type && known.threshold == threshold) {
        return known.graph;
      }
    }
    // Once without recording: kernels are loaded at their first launch, which a recording does not allow.
    launch_all(program, [] {});
    require(cudaStreamSynchronize(compute_), "the first frame failed on the GPU");
    cudaGraph_t graph = nullptr;
    require(cudaStreamBeginCapture(compute_, cudaStreamCaptureModeThreadLocal), "launches cannot be recorded");
    try {
      launch_all(program, [] {});
    } catch (...) {
      cudaStreamEndCapture(compute_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    require(cudaStreamEndCapture(compute_, &graph), "launches cannot be recorded");
    cudaGraphExec_t made = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&made, graph, 0);
    cudaGraphDestroy(graph);
    require(error, "the frame's graph cannot be made");
    if (graphs_.size() == kMostGraphs) {
      // The oldest may still run for the other slot.
      require(cudaStreamSynchronize(compute_), "an earlier frame failed on the GPU");
      cudaGraphExecDestroy(graphs_.front().graph);
      graphs_.erase(graphs_.begin());
    }
    graphs_.push_back({slot, frame.height, frame.width, frame.type, threshold, made});
    return made;
  }

  int index_;
  Dtype dtype_;
  std::string name_;
  cudaStream_t compute_ = nullptr;
  cudaStream_t copy_ = nullptr;
  cudaEvent_t given_ = nullptr;
  cudaEvent_t copied_[kSlots] = {};
  cudaEvent_t done_[kSlots] = {};
  std::vector<cudaEvent_t> marks_;  // of profile, with times
  std::vector<Recorded> graphs_;
};

}  // namespace

std::unique_ptr<Device> open_cuda(int index, int half) {
  const std::string asked = "device cuda:" + std::to_string(index) + " cannot be had: ";
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess && count > 0 && index >= count)
    throw Error(PV_DEVICE, asked + "there are " + std::to_string(count));
  const std::string reason = cuda_support::missing_reason(index);
  if (!reason.empty()) {
    std::string inside;
    for (const std::string& name : cuda_archs()) inside += (inside.empty() ? "" : ", ") + name;
    throw Error(PV_DEVICE, asked + reason + " (the library holds code for " + inside + ")");
  }
  return std::make_unique<CudaDevice>(index, half == 0 ? Dtype::kFloat32 : Dtype::kFloat16);
}

}  // namespace pitviper
