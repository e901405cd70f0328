// SPDX-License-Identifier: Apache-2.0
#include "phases_cuda.h"
#include "residual_kernel.h"

namespace pitviper {
namespace residual_block {

Status launch_cuda(const ResidualBlockArgs& args, void* stream) { return launch_all(args, OnStream{stream}); }

}  // namespace residual_block
}  // namespace pitviper
