// SPDX-License-Identifier: Apache-2.0
#include "conv_weights.h"
#include "device_cpu.h"

namespace pitviper {
namespace {

class BodiesDevice final : public HostDevice {
 public:
  BodiesDevice(Dtype dtype, const HostMemory& memory) : HostDevice(memory), dtype_(dtype) {}

  std::string name() const override { return "host"; }
  Dtype dtype() const override { return dtype_; }
  std::size_t weight_bytes(int out_channels, int in_channels, int kernel) const override {
    return packed_weight_count(out_channels, in_channels, kernel) * bytes_of(dtype_);
  }
  void pack(const float* weight, int out_channels, int in_channels, int kernel, void* packed) const override {
    pack_weights(weight, out_channels, in_channels, kernel, dtype_, packed);
  }
  std::size_t scratch_bytes(const Program&) const override { return 0; }

 protected:
  void convolve(const Program::Launch& launch, float*) override {
    if (launch.residual) return require(residual_block::launch_host(launch.block), "residual_block");
    require(conv_block::launch_host(launch.conv), "conv_block");
  }

 private:
  Dtype dtype_;
};

}  // namespace

std::unique_ptr<Device> open_host(int half, const HostMemory& memory) {
  return std::make_unique<BodiesDevice>(half == 1 ? Dtype::kFloat16 : Dtype::kFloat32, memory);
}

}  // namespace pitviper
