// SPDX-License-Identifier: Apache-2.0
// A convolution with all that stands around it in a deployed network, as one launch. Definition:
// kernels/conv_block/reference.py. Maps are dense [N, H, W, C], weights as pack_weights (conv_weights.h) lays them out.
//
//   x      = input, or relu?(merge(input, upsampled 1x1 of merge.low))
//   v      = conv(x) + bias                      3x3 (zero padding 1) or 1x1, stride 1 or 2
//   v      = nearest upsampling of v             upsample 2, 1x1 only
//   output = relu?(v + residual)                 or, with a head, only its logits leave the chip
#pragma once
#include "numbers.h"

namespace pitviper {

enum class Load : int {
  kMap = 0,           // NHWC, in_channels a multiple of 16
  kFrame = 1,         // [N, H, W]: one channel
  kFrameToDepth = 2,  // [N, 2 H, 2 W] read as four channels, 2 * (row phase) + (column phase), like pixel_unshuffle
};

// How the decoder joins its two inputs, before the convolution: s is input (the skip connection), u the 1x1
// convolution with bias of `low`, `scale` times upsampled (nearest).
struct Merge {
  enum Mode : int {
    kNone = 0,
    kAdd = 1,     // s + u                                        weight for in_channels outputs
    kAffine = 2,  // (1 + k (gamma - 1)) s + k beta, k = strength; u = [gamma, beta], weight for 2 in_channels outputs
  };
  int mode = kNone;
  int scale = 1;         // 1 or 2; low is [N, H / scale, W / scale, low_channels]
  int low_channels = 0;  // multiple of 16, at most 128
  int relu = 0;          // ReLU of the result
  float strength = 1.0f;
  const void* low = nullptr;     // dtype
  const void* weight = nullptr;  // packed, dtype
  const float* bias = nullptr;   // [in_channels], or [2 in_channels] for kAffine
};

// Logits instead of a map: outputs 1 gives [N, H, W], outputs 4 (a packed stage) gives [N, 2 H, 2 W] by depth-to-space;
// H, W are those of the convolution's result. The coarse map adds the 1x1 (no bias) of a map at half the logits' size,
// depth-to-space of its four outputs: coarse is [N, LH / 2, LW / 2, coarse_channels] for logits [N, LH, LW].
struct Head {
  int outputs = 0;                       // 0 (no head), 1 or 4
  int coarse_channels = 0;               // multiple of 16, at most 128
  const float* weight = nullptr;         // [outputs, out_channels]
  const float* bias = nullptr;           // [outputs]
  const void* coarse = nullptr;          // dtype, or null
  const float* coarse_weight = nullptr;  // [4, coarse_channels]
  float* logits = nullptr;
};

struct ConvBlockArgs {
  Dtype dtype = Dtype::kFloat32;        // of maps and packed weights; sums are float32
  Dtype frame_dtype = Dtype::kFloat32;  // of input when load is not kMap: float32, or dtype
  Load load = Load::kMap;
  int batch = 0;   // 0 to 65535; 0 does nothing
  int height = 0;  // of x, the convolution's input
  int width = 0;
  int in_channels = 0;   // 1 for kFrame, 4 for kFrameToDepth, else a multiple of 16
  int out_channels = 0;  // multiple of 16; with a head 16, 32, 48 or 64
  int kernel = 3;        // 1 or 3
  int stride = 1;        // 1 or 2; the result is [ceil(H / stride), ceil(W / stride)]
  int relu = 0;
  int upsample = 1;  // 1, or 2 (kernel 1, stride 1, no head): output and residual are [N, 2 H, 2 W, out_channels]
  const void* input = nullptr;     // 16-byte aligned like every pointer here
  const void* weight = nullptr;    // packed, dtype
  const float* bias = nullptr;     // [out_channels]
  const void* residual = nullptr;  // dtype, shape of output, or null; may be output itself
  void* output = nullptr;          // dtype; unused with a head
  Merge merge;
  Head head;
};

namespace conv_block {

// Names the first argument that does not fit; launches call it.
Status check(const ConvBlockArgs& args);

// Runs on the calling thread; pointers are host memory.
Status launch_host(const ConvBlockArgs& args);

// Queues one launch; pointers are device memory, stream is a cudaStream_t. Built with nvcc only.
Status launch_cuda(const ConvBlockArgs& args, void* stream);

}  // namespace conv_block
}  // namespace pitviper
