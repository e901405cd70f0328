// SPDX-License-Identifier: Apache-2.0
// (1 + s (gamma - 1)) f + s beta, plus a residual, behind a ReLU, in one launch. Definition:
// kernels/affine_modulate/reference.py. Maps are dense [N, H, W, C]; sums are float32, the result is rounded once.
#pragma once
#include "numbers.h"

namespace pitviper {

struct AffineModulateArgs {
  Dtype dtype = Dtype::kFloat32;  // of every operand
  int batch = 0;                  // 0 does nothing
  int height = 0;
  int width = 0;
  int channels = 0;  // multiple of 8
  float strength = 1.0f;
  int per_pixel = 0;               // gamma and beta are maps like features, instead of [N, C]
  int relu = 0;                    // NaN stays NaN
  const void* features = nullptr;  // 16-byte aligned like every pointer here
  const void* gamma = nullptr;
  const void* beta = nullptr;
  const void* residual = nullptr;  // or null
  void* output = nullptr;          // may be features or residual
};

namespace affine_modulate {

// Names the first argument that does not fit; launches call it.
Status check(const AffineModulateArgs& args);
// Runs on the calling thread; pointers are host memory.
Status launch_host(const AffineModulateArgs& args);
// Queues one launch; pointers are device memory, stream is a cudaStream_t. Built with nvcc only.
Status launch_cuda(const AffineModulateArgs& args, void* stream);

}  // namespace affine_modulate
}  // namespace pitviper
