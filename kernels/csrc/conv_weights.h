// SPDX-License-Identifier: Apache-2.0
// The order in which the convolution kernels read their weights.
#pragma once
#include "numbers.h"

namespace pitviper {

// Elements of the packed form: both channel counts rounded up to 16.
std::size_t packed_weight_count(int out_channels, int in_channels, int kernel);

// weight: float32 [out_channels, in_channels, kernel, kernel] with the batch norm folded in. packed: dtype
// [tap][in / 16][out / 16][512 bytes or 1024 bytes], tap = kernel * row + column; missing channels are zero.
//   16-bit: one 16x16 tile is [lane 32][8], what a lane holds of two 16x8 operands of mma.m16n8k16: with g = lane / 4,
//   t = lane % 4, its element 4 h + 2 q + e is weight[out 8 h + g][in 8 q + 2 t + e].
//   float32: one tile is [h 2][t 4][in 16][e 2] of weight[out 8 h + 2 t + e][in].
void pack_weights(const float* weight, int out_channels, int in_channels, int kernel, Dtype dtype, void* packed);

// The inverse; values are those of dtype.
void unpack_weights(const void* packed, int out_channels, int in_channels, int kernel, Dtype dtype, float* weight);

}  // namespace pitviper
