// SPDX-License-Identifier: Apache-2.0
#include "modulation_phases.h"
#include "phases_cuda.h"

namespace pitviper {
Status affine_modulate::launch_cuda(const AffineModulateArgs& args, void* stream) {
  return modulation::launch_all(args, OnStream{stream});
}
Status samf_fuse::launch_cuda(const SamfSplitArgs& args, void* stream) {
  return modulation::launch_all(args, OnStream{stream});
}
Status samf_fuse::launch_cuda(const SamfJoinArgs& args, void* stream) {
  return modulation::launch_all(args, OnStream{stream});
}

}  // namespace pitviper
