// SPDX-License-Identifier: Apache-2.0
// The convolutions of a plan on a CPU's vector registers, float32: the same arguments as the kernels in conv_block.h
// and residual_block.h, but weights in the order [tap][in][out] (arrange_weights), and memory for a few rows from
// outside.
#pragma once
#include "residual_block.h"

namespace pitviper {
namespace convolution_cpu {

// weight: float32 [out_channels, in_channels, kernel, kernel]; arranged: as many floats, [kernel * kernel][in][out].
void arrange_weights(const float* weight, int out_channels, int in_channels, int kernel, float* arranged);

// Floats of scratch memory that a launch needs.
std::size_t scratch_floats(const ConvBlockArgs& args);
std::size_t scratch_floats(const ResidualBlockArgs& args);

// Arguments must have passed conv_block::check and residual_block::check, with batch 1, float32 and no affine merge.
void run(const ConvBlockArgs& args, float* scratch);
void run(const ResidualBlockArgs& args, float* scratch);

}  // namespace convolution_cpu
}  // namespace pitviper
