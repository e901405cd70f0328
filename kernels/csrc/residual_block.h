// SPDX-License-Identifier: Apache-2.0
// Two 3x3 convolutions in one launch, the map between them kept in shared memory. Definition:
// kernels/residual_block/reference.py. Maps are dense [N, H, W, C], weights as pack_weights (conv_weights.h) lays them
// out.
//
//   output = relu(x + conv(relu(conv(x))))       shortcut 1
//   output = relu(conv(relu(conv(x))))           shortcut 0: a pair, such as a stem of two convolutions
#pragma once
#include "conv_block.h"

namespace pitviper {

struct ResidualBlockArgs {
  Dtype dtype = Dtype::kFloat32;
  Dtype frame_dtype = Dtype::kFloat32;  // of input when load is not kMap: float32, or dtype
  Load load = Load::kMap;               // kMap when there is a shortcut
  int batch = 0;                        // 0 to 65535; 0 does nothing
  int height = 0;                       // of input as a map (half the frame for kFrameToDepth) and of output
  int width = 0;
  int in_channels = 0;  // as in ConvBlockArgs, at most 128; equal to channels when there is a shortcut
  int channels = 0;     // of the map between and of output: a multiple of 16, at most 128
  int shortcut = 1;
  const void* input = nullptr;    // 16-byte aligned like every pointer here; must not overlap output
  const void* weight1 = nullptr;  // packed, dtype
  const float* bias1 = nullptr;   // [channels]
  const void* weight2 = nullptr;
  const float* bias2 = nullptr;
  void* output = nullptr;  // dtype
};

namespace residual_block {

Status check(const ResidualBlockArgs& args);
Status launch_host(const ResidualBlockArgs& args);
// stream is a cudaStream_t. Built with nvcc only.
Status launch_cuda(const ResidualBlockArgs& args, void* stream);

}  // namespace residual_block
}  // namespace pitviper
