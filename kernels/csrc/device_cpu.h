// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "device.h"
#include "error.h"

namespace pitviper {

// What both devices of ordinary memory share: frames are standardised and targets extracted by the bodies of the GPU's
// kernels, which allocate nothing. A frame is finished when submit returns.
class HostDevice : public Device {
 public:
  explicit HostDevice(const HostMemory& memory) : memory_(memory) {}

  void* allocate(std::size_t bytes, bool host_reads) override;
  void release(void* memory, bool host_reads) noexcept override;
  void upload(void* to, const void* from, std::size_t bytes) override;
  bool copies_frames() const override { return false; }
  void prepared(bool) override {}
  void submit(int slot, const GivenFrame& frame, Program& program, const SlotMemory& memory) override;
  bool finished(int slot, bool wait) override;
  void network(Program& program, const SlotMemory& memory, const float* standardised, MapKind kind,
               float* map) override;
  void read_map(const Program& program, const SlotMemory& memory, MapKind kind, float* to) override;
  pv_clock clock() const override { return PV_WALL_CLOCK; }
  void profile(const GivenFrame& frame, Program& program, const SlotMemory& memory, double* ms) override;

 protected:
  static void require(const Status& status, const char* operation);
  virtual void convolve(const Program::Launch& launch, float* scratch) = 0;

 private:
  void place(const GivenFrame& frame, Program& program, const SlotMemory& memory) const;
  // after_each() is called behind every operation.
  template <typename AfterEach>
  void launch_all(const Program& program, const AfterEach& after_each);

  HostMemory memory_;
};

// Vector code for the CPU, float32.
std::unique_ptr<Device> open_cpu(int half, const HostMemory& memory);
// The bodies of the GPU's kernels, float32 or fp16: the same launches in the same order, for proof.
std::unique_ptr<Device> open_host(int half, const HostMemory& memory);

}  // namespace pitviper
