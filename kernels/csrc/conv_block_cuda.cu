// SPDX-License-Identifier: Apache-2.0
#include "conv_kernel.h"
#include "phases_cuda.h"

namespace pitviper {
namespace conv_block {

Status launch_cuda(const ConvBlockArgs& args, void* stream) {
  const Status checked = check(args);
  if (!checked.ok() || args.batch == 0) return checked;
  const auto run = [&](auto kernel, Index grid) {
    return launch_phases<decltype(kernel)>(args, grid, static_cast<cudaStream_t>(stream));
  };
  switch (args.dtype) {
    case Dtype::kFloat16: return with_conv_kernel<Float16>(args, run);
    case Dtype::kBFloat16: return with_conv_kernel<BFloat16>(args, run);
    default: return with_conv_kernel<float>(args, run);
  }
}

}  // namespace conv_block
}  // namespace pitviper
