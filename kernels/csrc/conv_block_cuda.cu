// SPDX-License-Identifier: Apache-2.0
#include "conv_kernel.h"
#include "phases_cuda.h"

namespace pitviper {
namespace conv_block {

Status launch_cuda(const ConvBlockArgs& args, void* stream) { return launch_all(args, OnStream{stream}); }

}  // namespace conv_block
}  // namespace pitviper
