// SPDX-License-Identifier: Apache-2.0
// Whether this machine's GPU can run the device code of this build.
#pragma once
#include <string>

namespace pitviper {
namespace cuda_support {

// Why no kernel can run on GPU `index`: no driver, no such GPU, no code for it. Empty when one can. Built with nvcc
// only.
std::string missing_reason(int index = 0);

}  // namespace cuda_support
}  // namespace pitviper
