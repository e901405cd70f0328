// SPDX-License-Identifier: Apache-2.0
// The launches of extract_targets in their order.
#pragma once
#include "extract_targets_contrast.h"

namespace pitviper {
namespace extractor {

// A float above the threshold is a multiple of the last place of the threshold's float.
inline KernelArgs kernel_args(const ExtractTargetsArgs& call) {
  const float limit = float_below(call.threshold);
  return {call, limit, 23 - std::ilogb(limit), workspace_bytes(call) / static_cast<std::size_t>(call.batch)};
}

template <typename Run>
Status launch_mask(const KernelArgs& args, Run run) {
  const Index grid{blocks_over(args.call.width, kMaskColumns), blocks_over(args.call.height, kMaskRows),
                   args.call.batch};
  const bool features = args.call.input == ExtractTargetsArgs::kFeatures;
  return with_type(args.call.dtype, [&](auto zero) {
    using T = decltype(zero);
    return features ? run.template launch<Mask<T, true>>(args, grid) : run.template launch<Mask<T, false>>(args, grid);
  });
}

template <typename Run>
Status launch_contrast(const KernelArgs& args, Run run) {
  const Index grid{args.call.capacity, args.call.batch, 1};
  switch (args.call.frame_type) {
    case 'B': return run.template launch<Contrast<std::uint8_t>>(args, grid);
    case 'H': return run.template launch<Contrast<std::uint16_t>>(args, grid);
    case 'e': return run.template launch<Contrast<Float16>>(args, grid);
    default: return run.template launch<Contrast<float>>(args, grid);
  }
}

// `run.template launch<K>(args, grid)` queues one launch and answers a Status.
template <typename Run>
Status launch_all(const ExtractTargetsArgs& call, Run run) {
  Status status = check(call);
  if (!status.ok() || call.batch == 0) return status;
  const KernelArgs args = kernel_args(call);
  status = launch_mask(args, run);
  if (status.ok()) status = run.template launch<Components>(args, Index{call.batch, 1, 1});
  if (status.ok() && call.frames != nullptr) status = launch_contrast(args, run);
  return status;
}

}  // namespace extractor
}  // namespace pitviper
