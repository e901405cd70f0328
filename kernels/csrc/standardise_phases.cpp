// SPDX-License-Identifier: Apache-2.0
#include "standardise_phases.h"

namespace pitviper {
namespace standardiser {
namespace {

bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

Status bad(const char* text) { return {Status::kBadArgument, text}; }

Status check_frames(const StandardiseArgs& args) {
  if (!is_sample(args.type)) return bad("type must be 'B', 'H', 'e' or 'f' (uint8, uint16, float16, float32)");
  if (args.batch < 0 || args.batch > 65535) return bad("batch must be 0 to 65535");
  if (args.height <= kRadius || args.width <= kRadius) return bad("height and width must be at least 3");
  if (static_cast<std::int64_t>(args.height) * args.width >= std::int64_t{1} << 31)
    return bad("a frame must have fewer than 2^31 pixels; split it into tiles");
  const auto size = static_cast<std::ptrdiff_t>(sample_bytes(args.type));
  if (args.row_bytes % size != 0 || args.frame_bytes % size != 0)
    return bad("row_bytes and frame_bytes must be multiples of the sample's size");
  if (args.frames == nullptr || reinterpret_cast<std::uintptr_t>(args.frames) % size != 0)
    return bad("frames must point to aligned samples");
  return {};
}

Status check_output(const StandardiseArgs& args) {
  if (args.block != 1 && args.block != 2) return bad("block must be 1 or 2");
  if (args.out_height < args.height || args.out_height >= 2 * args.height || args.out_width < args.width ||
      args.out_width >= 2 * args.width)
    return bad("out_height and out_width must be at least the frame's, and the padding smaller than its sides");
  if (args.out_height % args.block != 0 || args.out_width % args.block != 0)
    return bad("out_height and out_width must be multiples of block");
  if (args.channels != 1 && (args.channels < 8 || args.channels > 128 || args.channels % 8 != 0))
    return bad("channels must be 1, or a multiple of 8 up to 128");
  if (args.channels == 1 && args.block == 2) return bad("block 2 needs a multiple of 8 channels");
  if (static_cast<int>(args.out_dtype) < 0 || static_cast<int>(args.out_dtype) > 2) return bad("no such out_dtype");
  if (args.output == nullptr || !aligned(args.output)) return bad("output must be 16-byte aligned");
  return {};
}

Status check_shape(const StandardiseArgs& args) {
  const Status status = check_frames(args);
  return status.ok() ? check_output(args) : status;
}

std::size_t bytes_for(const StandardiseArgs& args) {
  return static_cast<std::size_t>(args.batch) * kSums *
         static_cast<std::size_t>(partials_of(tiles_of(args.height, args.width))) * kWord;
}

}  // namespace

std::size_t workspace_bytes(const StandardiseArgs& args) { return check_frames(args).ok() ? bytes_for(args) : 0; }

Status check(const StandardiseArgs& args) {
  const Status status = check_shape(args);
  if (!status.ok() || args.batch == 0) return status;
  if (args.rule.box != kBox) return bad("the box is compiled in as 5");
  if (args.workspace == nullptr || !aligned(args.workspace)) return bad("workspace must be 16-byte aligned");
  if (args.workspace_bytes < bytes_for(args)) return bad("workspace is smaller than workspace_bytes says");
  return {};
}

Status launch_host(const StandardiseArgs& args) { return launch_all(args, OnHost{}); }

}  // namespace standardiser
}  // namespace pitviper
