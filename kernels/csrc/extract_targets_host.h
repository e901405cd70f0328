// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <vector>

#include "frame.h"

namespace pitviper {

// The constants of kernels/extract_targets/reference.py.
struct ContrastRule {
  int gap;
  int reach;
  int fewest;
  double mad_to_deviation;
};

// A float exceeds the double threshold exactly when it exceeds the largest float that is not above it.
inline float float_below(double threshold) {
  const float nearest = static_cast<float>(threshold);
  return nearest > threshold ? std::nextafter(nearest, -1.0f) : nearest;
}

// Row i describes target i, in raster order of first pixels.
struct TargetTable {
  std::vector<double> xy;
  std::vector<float> xyxy;
  std::vector<std::int32_t> area;
  std::vector<float> peak;
  std::vector<float> mean;
  std::vector<float> snr;
  std::int64_t total = 0;
  std::int64_t nonfinite = 0;
};

// frame.origin is null when there is no frame; then every snr is NaN. A map with non-finite values gives only their
// count.
TargetTable extract_targets(const View<float>& probability, const Frame& frame, double threshold,
                            std::int64_t max_targets, const ContrastRule& rule);

}  // namespace pitviper
