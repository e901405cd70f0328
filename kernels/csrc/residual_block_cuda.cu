// SPDX-License-Identifier: Apache-2.0
#include "phases_cuda.h"
#include "residual_kernel.h"

namespace pitviper {
namespace residual_block {

Status launch_cuda(const ResidualBlockArgs& args, void* stream) {
  const Status checked = check(args);
  if (!checked.ok() || args.batch == 0) return checked;
  const auto run = [&](auto kernel, Index grid) {
    return launch_phases<decltype(kernel)>(args, grid, static_cast<cudaStream_t>(stream));
  };
  switch (args.dtype) {
    case Dtype::kFloat16: return with_residual_kernel<Float16>(args, run);
    case Dtype::kBFloat16: return with_residual_kernel<BFloat16>(args, run);
    default: return with_residual_kernel<float>(args, run);
  }
}

}  // namespace residual_block
}  // namespace pitviper
