// SPDX-License-Identifier: Apache-2.0
#include "device_cpu.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "convolution_cpu.h"
#include "extract_targets_source.h"

namespace pitviper {

void copy_map(const ExtractTargetsArgs& args, const void* logits, MapKind kind, float* to) {
  const char* row = static_cast<const char*>(logits);
  for (int y = 0; y < args.height; ++y, row += args.row_bytes) {
    const float* const values = reinterpret_cast<const float*>(row);
    for (int x = 0; x < args.width; ++x) *to++ = kind == MapKind::kLogOdds ? values[x] : extractor::sigmoid(values[x]);
  }
}

void HostDevice::require(const Status& status, const char* operation) {
  if (!status.ok()) throw Error(PV_DEVICE, std::string(operation) + " was refused: " + status.text);
}

void* HostDevice::allocate(std::size_t bytes, bool) {
  void* const memory = memory_.allocate(bytes, memory_.context);
  if (memory == nullptr) {
    throw Error(PV_MEMORY, "there is no memory for a block of " + std::to_string(bytes) + " bytes");
  }
  return memory;
}

void HostDevice::release(void* memory, bool) noexcept { memory_.release(memory, memory_.context); }

void HostDevice::upload(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }

void HostDevice::place(const GivenFrame& frame, Program& program, const SlotMemory& memory) const {
  if (frame.place == PV_GPU) throw Error(PV_DEVICE, "the frame lies on a GPU, this detector runs on the " + name());
  program.standardise.frames = program.extract.frames = frame.data;
  program.standardise.type = program.extract.frame_type = frame.type;
  program.standardise.row_bytes = program.extract.frame_row_bytes = frame.row_bytes;
  program.extract.output = memory.records;
}

template <typename AfterEach>
void HostDevice::launch_all(const Program& program, const AfterEach& after_each) {
  require(standardiser::launch_host(program.standardise), "standardise");
  after_each();
  for (const Program::Launch& launch : program.launches) {
    convolve(launch, program.scratch);
    after_each();
  }
  require(extractor::launch_host(program.extract), "extract_targets");
  after_each();
}

void HostDevice::submit(int, const GivenFrame& frame, Program& program, const SlotMemory& memory) {
  place(frame, program, memory);
  launch_all(program, [] {});
}

void HostDevice::profile(const GivenFrame& frame, Program& program, const SlotMemory& memory, double* ms) {
  using Clock = std::chrono::steady_clock;
  place(frame, program, memory);
  Clock::time_point before = Clock::now();
  launch_all(program, [&] {
    const Clock::time_point now = Clock::now();
    *ms++ = std::chrono::duration<double, std::milli>(now - before).count();
    before = now;
  });
}

bool HostDevice::finished(int, bool) { return true; }

void HostDevice::network(Program& program, const SlotMemory& memory, const float* standardised, MapKind kind,
                         float* map) {
  const StandardiseArgs& shape = program.standardise;
  std::memcpy(shape.output, standardised,
              sizeof(float) * static_cast<std::size_t>(shape.height) * static_cast<std::size_t>(shape.width));
  for (Program::Launch launch : program.launches) {
    launch.conv.frame_dtype = launch.block.frame_dtype = Dtype::kFloat32;
    convolve(launch, program.scratch);
  }
  read_map(program, memory, kind, map);
}

void HostDevice::read_map(const Program& program, const SlotMemory&, MapKind kind, float* to) {
  copy_map(program.extract, program.extract.map, kind, to);
}

namespace {

class CpuDevice final : public HostDevice {
 public:
  using HostDevice::HostDevice;

  std::string name() const override { return "cpu"; }
  Dtype dtype() const override { return Dtype::kFloat32; }
  std::size_t weight_bytes(int out_channels, int in_channels, int kernel) const override {
    return sizeof(float) * static_cast<std::size_t>(out_channels * in_channels * kernel * kernel);
  }
  void pack(const float* weight, int out_channels, int in_channels, int kernel, void* packed) const override {
    convolution_cpu::arrange_weights(weight, out_channels, in_channels, kernel, static_cast<float*>(packed));
  }
  std::size_t scratch_bytes(const Program& program) const override {
    std::size_t floats = 0;
    for (const Program::Launch& launch : program.launches) {
      floats = std::max(floats, launch.residual ? convolution_cpu::scratch_floats(launch.block)
                                                : convolution_cpu::scratch_floats(launch.conv));
    }
    return floats * sizeof(float);
  }

 protected:
  void convolve(const Program::Launch& launch, float* scratch) override {
    if (launch.residual) return convolution_cpu::run(launch.block, scratch);
    convolution_cpu::run(launch.conv, scratch);
  }
};

}  // namespace

std::unique_ptr<Device> open_cpu(int half, const HostMemory& memory) {
  if (half == 1) throw Error(PV_DEVICE, "device cpu computes in fp32; leave half at 0 or -1, or take a GPU");
  return std::make_unique<CpuDevice>(memory);
}

}  // namespace pitviper
