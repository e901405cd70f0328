// SPDX-License-Identifier: Apache-2.0
// The plan of core/plan/layout.py: what is executed for one frame. Reading it checks everything in it, so that no code
// behind it has to: a file that was changed by accident or on purpose is refused, never executed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "extract_targets_host.h"
#include "standardise_host.h"

namespace pitviper {

struct PlanValue {
  int channels;
  int divisor;
  std::int64_t offset;
};

enum class PlanOp : int { kConv = 1, kResidual = 2 };

// See Launch in core/plan/layout.py; maps are indices of values, -1 for none.
struct PlanLaunch {
  PlanOp op;
  int source, target, channels, low, residual, coarse;
  int kernel, stride;
  bool relu, merge_relu;
  int upsample, merge_scale, outputs;
  std::int64_t weight, bias, weight2, bias2, head_weight, head_bias, coarse_weight;
};

struct Plan {
  std::string name;
  std::string architecture;
  std::string normalisation;
  int stride = 0;
  int block = 0;
  double threshold = 0.0;
  std::int64_t arena = 0;
  StandardiseRule standardise_rule{};
  ContrastRule contrast_rule{};
  std::vector<PlanValue> values;
  std::vector<PlanLaunch> launches;
  std::vector<float> weights;

  // Channels that a launch reads from a value; the frame's are those of its space-to-depth.
  int channels_of(int value) const { return values[static_cast<std::size_t>(value)].channels; }
  int divisor_of(int value) const { return values[static_cast<std::size_t>(value)].divisor; }
};

// Throws Error(PV_PLAN) that says what is wrong with the file, std::bad_alloc.
Plan parse_plan(const void* content, std::size_t bytes);

}  // namespace pitviper
