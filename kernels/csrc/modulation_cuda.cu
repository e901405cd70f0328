// SPDX-License-Identifier: Apache-2.0
#include "modulation_phases.h"
#include "phases_cuda.h"

namespace pitviper {
namespace {

struct OnStream {
  cudaStream_t stream;
  template <typename K>
  Status launch(const typename K::Args& args, Index grid) const {
    return launch_phases<K>(args, grid, stream);
  }
};

template <typename Args>
Status run(const Args& args, void* stream) {
  return modulation::launch_all(args, OnStream{static_cast<cudaStream_t>(stream)});
}

}  // namespace

Status affine_modulate::launch_cuda(const AffineModulateArgs& args, void* stream) { return run(args, stream); }
Status samf_fuse::launch_cuda(const SamfSplitArgs& args, void* stream) { return run(args, stream); }
Status samf_fuse::launch_cuda(const SamfJoinArgs& args, void* stream) { return run(args, stream); }

}  // namespace pitviper
