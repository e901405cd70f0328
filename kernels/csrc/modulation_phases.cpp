// SPDX-License-Identifier: Apache-2.0
#include "modulation_phases.h"

#include <initializer_list>

namespace pitviper {
namespace {

constexpr std::int64_t kMostPacks = (std::int64_t{1} << 31) - 1;

Status bad(const char* text) { return {Status::kBadArgument, text}; }

template <typename Args>
Status check_maps(const Args& args, int multiple, const char* words, std::initializer_list<const void*> needed) {
  if (static_cast<int>(args.dtype) < 0 || static_cast<int>(args.dtype) > 2) return bad("no such dtype");
  if (args.batch < 0) return bad("batch must not be negative");
  if (args.height < 1 || args.width < 1) return bad("height and width must be at least 1");
  if (args.channels < multiple || args.channels % multiple != 0) return bad(words);
  const std::int64_t pixels = static_cast<std::int64_t>(args.height) * args.width;
  if (pixels > kMostPacks || static_cast<double>(pixels) * args.batch * (args.channels / 8.0) > kMostPacks)
    return bad("a map must have fewer than 2^34 values");
  if (args.batch == 0) return {};
  for (const void* const pointer : needed) {
    if (pointer == nullptr || reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0)
      return bad("every map must be 16-byte aligned");
  }
  return {};
}

}  // namespace

namespace affine_modulate {

Status check(const AffineModulateArgs& args) {
  if (!finite(args.strength)) return bad("strength must be finite");
  if (reinterpret_cast<std::uintptr_t>(args.residual) % 16 != 0) return bad("every map must be 16-byte aligned");
  return check_maps(args, 8, "channels must be a multiple of 8", {args.features, args.gamma, args.beta, args.output});
}
Status launch_host(const AffineModulateArgs& args) { return modulation::launch_all(args, OnHost{}); }

}  // namespace affine_modulate

namespace samf_fuse {

Status check(const SamfSplitArgs& args) {
  if (args.prior_height < 1 || args.prior_width < 1) return bad("the prior's sides must be at least 1");
  return check_maps(args, 16, "channels must be a multiple of 16",
                    {args.features, args.scale, args.shift, args.first, args.second});
}
Status check(const SamfJoinArgs& args) {
  return check_maps(args, 16, "channels must be a multiple of 16",
                    {args.first, args.second, args.features, args.output});
}
Status launch_host(const SamfSplitArgs& args) { return modulation::launch_all(args, OnHost{}); }
Status launch_host(const SamfJoinArgs& args) { return modulation::launch_all(args, OnHost{}); }

}  // namespace samf_fuse
}  // namespace pitviper
