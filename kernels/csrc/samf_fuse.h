// SPDX-License-Identifier: Apache-2.0
// What stands before and behind the two convolutions of SAMF, one launch each. Definition:
// kernels/samf_fuse/reference.py. Maps are dense [N, H, W, C]; sums are float32, results are rounded once.
#pragma once
#include "numbers.h"

namespace pitviper {

// first = F1 * resize(scale), second = F2 + resize(shift); F1 and F2 are the halves of the channels of features. The
// prior is read at its own size: no resized prior is in memory.
struct SamfSplitArgs {
  Dtype dtype = Dtype::kFloat32;  // of every operand
  int batch = 0;                  // 0 does nothing
  int height = 0;
  int width = 0;
  int channels = 0;  // of features, multiple of 16
  int prior_height = 0;
  int prior_width = 0;
  const void* features = nullptr;  // 16-byte aligned like every pointer here
  const void* scale = nullptr;     // [N, prior_height, prior_width, channels / 2]
  const void* shift = nullptr;
  void* first = nullptr;  // [N, H, W, channels / 2]
  void* second = nullptr;
};

// output = concat(first, second) + features.
struct SamfJoinArgs {
  Dtype dtype = Dtype::kFloat32;
  int batch = 0;
  int height = 0;
  int width = 0;
  int channels = 0;             // of features
  const void* first = nullptr;  // [N, H, W, channels / 2]
  const void* second = nullptr;
  const void* features = nullptr;
  void* output = nullptr;  // may be features
};

namespace samf_fuse {

// Names the first argument that does not fit; launches call it.
Status check(const SamfSplitArgs& args);
Status check(const SamfJoinArgs& args);
// Run on the calling thread; pointers are host memory.
Status launch_host(const SamfSplitArgs& args);
Status launch_host(const SamfJoinArgs& args);
// Queue one launch; pointers are device memory, stream is a cudaStream_t. Built with nvcc only.
Status launch_cuda(const SamfSplitArgs& args, void* stream);
Status launch_cuda(const SamfJoinArgs& args, void* stream);

}  // namespace samf_fuse
}  // namespace pitviper
