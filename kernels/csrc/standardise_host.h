// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "frame.h"

namespace pitviper {

// The constants of kernels/standardise/reference.py.
struct StandardiseRule {
  double residual_weight;
  double deviation_weight;
  int box;
};

struct Plane {
  float* origin;
  std::ptrdiff_t height;
  std::ptrdiff_t width;
};

std::int64_t count_nonfinite(const Frame& frame);

// Writes every value of out. The frame is finite, larger than half the box and than the padding of out.
void standardise(const Frame& frame, const Plane& out, const StandardiseRule& rule);

}  // namespace pitviper
