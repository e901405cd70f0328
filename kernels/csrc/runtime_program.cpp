// SPDX-License-Identifier: Apache-2.0
// From a plan to the arguments of its launches for one shape.
#include <algorithm>

#include "runtime.h"

namespace pitviper {
namespace {

constexpr std::size_t kLeastWorkspace = 256;

}  // namespace

// Where the maps of a plan lie for one padded shape.
class Runtime::Maps {
 public:
  Maps(const Runtime& runtime, int padded_height, int padded_width)
      : runtime_(runtime), height_(padded_height), width_(padded_width) {}

  void* at(int value) const {
    if (value == -1) return nullptr;
    if (value == 0) return runtime_.plane_.at();
    const Plan& plan = runtime_.plan_;
    const std::size_t blocks =
        static_cast<std::size_t>(height_ / plan.stride) * static_cast<std::size_t>(width_ / plan.stride);
    const std::size_t offset = static_cast<std::size_t>(plan.values[static_cast<std::size_t>(value)].offset);
    return static_cast<char*>(runtime_.arena_.at()) + offset * blocks * bytes_of(runtime_.device_->dtype());
  }
  // Every launch counts its own rows and columns from those of its input.
  template <typename Args>
  void describe_input(const PlanLaunch& launch, Args& args) const {
    const Plan& plan = runtime_.plan_;
    args.dtype = args.frame_dtype = runtime_.device_->dtype();
    args.load = launch.source != 0 ? Load::kMap : plan.block == 2 ? Load::kFrameToDepth : Load::kFrame;
    args.batch = 1;
    args.height = height_ / plan.divisor_of(launch.source);
    args.width = width_ / plan.divisor_of(launch.source);
    args.in_channels = plan.channels_of(launch.source);
    args.input = at(launch.source);
    args.output = at(launch.target);
  }

 private:
  const Runtime& runtime_;
  int height_;
  int width_;
};

// Grows the buffers for a padded shape and fills in every address.
void Runtime::build_program(int padded_height, int padded_width) {
  const std::size_t pixels = static_cast<std::size_t>(padded_height) * static_cast<std::size_t>(padded_width);
  const std::size_t stride = static_cast<std::size_t>(plan_.stride);
  StandardiseArgs& standardise = program_.standardise;
  ExtractTargetsArgs& extract = program_.extract;
  // Sizes of workspaces follow from shapes and types; the frame's type is not known yet and bounded by the widest.
  standardise.type = extract.frame_type = 'f';
  standardise.row_bytes = extract.frame_row_bytes = static_cast<std::ptrdiff_t>(sizeof(float)) * standardise.width;
  standardise.frame_bytes = extract.frame_bytes = standardise.row_bytes * standardise.height;
  moved_ |=
      arena_.grow(static_cast<std::size_t>(plan_.arena) * (pixels / (stride * stride)) * bytes_of(device_->dtype()));
  moved_ |= plane_.grow(pixels * sizeof(float));
  moved_ |= logits_.grow(pixels * sizeof(float));
  for (int slot = 0; slot < kSlots; ++slot) {
    if (!device_->copies_frames()) continue;
    moved_ |= frames_[slot].grow(pixels * sizeof(float));
    moved_ |= staging_[slot].grow(pixels * sizeof(float));
  }
  standardise.output = plane_.at();
  extract.map = logits_.at();
  standardise.statistics = static_cast<FrameStatistics*>(statistics_[0].at());
  extract.statistics = standardise.statistics;
  standardise.frames = extract.frames = plane_.at();  // stands in for the frame, so that the arguments are complete
  extract.output = records_[0].at();
  const std::size_t needed = std::max(standardiser::workspace_bytes(standardise), extractor::workspace_bytes(extract));
  moved_ |= workspace_.grow(std::max(needed, kLeastWorkspace));
  standardise.workspace = extract.workspace = workspace_.at();
  standardise.workspace_bytes = extract.workspace_bytes = workspace_.bytes();
  const Maps maps(*this, padded_height, padded_width);
  for (std::size_t i = 0; i < plan_.launches.size(); ++i) {
    Program::Launch& launch = program_.launches[i];
    launch.residual = plan_.launches[i].op == PlanOp::kResidual;
    if (launch.residual) {
      connect_residual(plan_.launches[i], maps, launch.block);
    } else {
      connect_conv(plan_.launches[i], maps, launch.conv);
    }
  }
  moved_ |= scratch_.grow(device_->scratch_bytes(program_));
  program_.scratch = static_cast<float*>(scratch_.at());
  device_->prepared(moved_);
  moved_ = false;
}

const void* Runtime::packed(std::int64_t at) const { return static_cast<const char*>(weights_.at()) + at; }

const float* Runtime::floats(std::int64_t at) const { return static_cast<const float*>(packed(at)); }

void Runtime::connect_residual(const PlanLaunch& launch, const Maps& maps, ResidualBlockArgs& args) const {
  args = {};
  maps.describe_input(launch, args);
  args.channels = launch.channels;
  args.shortcut = launch.residual != -1;
  args.weight1 = packed(launch.weight);
  args.bias1 = floats(launch.bias);
  args.weight2 = packed(launch.weight2);
  args.bias2 = floats(launch.bias2);
}

void Runtime::connect_conv(const PlanLaunch& launch, const Maps& maps, ConvBlockArgs& args) const {
  args = {};
  maps.describe_input(launch, args);
  args.out_channels = launch.channels;
  args.kernel = launch.kernel;
  args.stride = launch.stride;
  args.relu = launch.relu;
  args.upsample = launch.upsample;
  args.weight = packed(launch.weight);
  args.bias = floats(launch.bias);
  args.residual = maps.at(launch.residual);
  if (launch.low != -1) {
    args.merge.mode = Merge::kAdd;
    args.merge.scale = launch.merge_scale;
    args.merge.low_channels = plan_.channels_of(launch.low);
    args.merge.relu = launch.merge_relu;
    args.merge.low = maps.at(launch.low);
    args.merge.weight = packed(launch.weight2);
    args.merge.bias = floats(launch.bias2);
  }
  if (launch.outputs == 0) return;
  args.head.outputs = launch.outputs;
  args.head.weight = floats(launch.head_weight);
  args.head.bias = floats(launch.head_bias);
  args.head.logits = static_cast<float*>(logits_.at());
  if (launch.coarse == -1) return;
  args.head.coarse = maps.at(launch.coarse);
  args.head.coarse_channels = plan_.channels_of(launch.coarse);
  args.head.coarse_weight = floats(launch.coarse_weight);
}

}  // namespace pitviper
