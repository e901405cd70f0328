// SPDX-License-Identifier: Apache-2.0
#include "extract_targets_phases.h"

namespace pitviper {
namespace extractor {
namespace {

constexpr int kMostSide = 32768;
constexpr std::int64_t kMostPixels = std::int64_t{1} << 24;
constexpr int kMostCapacity = 65535;
constexpr int kMostChannels = 128;
constexpr double kLeastThreshold = 1.0 / 65536.0;

bool aligned(const void* pointer, std::size_t bytes) { return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0; }

bool multiples(std::ptrdiff_t first, std::ptrdiff_t second, std::size_t size) {
  const auto unit = static_cast<std::ptrdiff_t>(size);
  return first % unit == 0 && second % unit == 0;
}

Status bad(const char* text) { return {Status::kBadArgument, text}; }

Status check_shape(const ExtractTargetsArgs& args) {
  if (args.batch < 0 || args.batch > 65535) return bad("batch must be 0 to 65535");
  if (args.height < 1 || args.width < 1 || args.height > kMostSide || args.width > kMostSide)
    return bad("height and width must be 1 to 32768");
  if (static_cast<std::int64_t>(args.height) * args.width > kMostPixels)
    return bad("a map must have at most 2^24 pixels; split it into tiles");
  if (args.capacity < 1 || args.capacity > kMostCapacity) return bad("capacity must be 1 to 65535");
  return {};
}

Status check_map(const ExtractTargetsArgs& args) {
  if (args.input == ExtractTargetsArgs::kProbability && args.dtype != Dtype::kFloat32)
    return bad("a map of probabilities must be float32");
  const std::size_t size = bytes_of(args.dtype);
  if (args.map == nullptr || !aligned(args.map, size)) return bad("map must point to aligned values");
  if (!multiples(args.row_bytes, args.map_bytes, size))
    return bad("row_bytes and map_bytes must be multiples of the value's size");
  return {};
}

Status check_source(const ExtractTargetsArgs& args, const HeadSource& source) {
  if (!aligned(source.map, 16)) return bad("the map of a source must be 16-byte aligned");
  if (source.factor != 1 && source.factor != 2) return bad("the factor of a source must be 1 or 2");
  if (source.channels < 8 || source.channels > kMostChannels || source.channels % 8 != 0)
    return bad("the channels of a source must be a multiple of 8 up to 128");
  if (static_cast<std::int64_t>(source.rows) * source.factor < args.height ||
      static_cast<std::int64_t>(source.columns) * source.factor < args.width)
    return bad("a source must cover the height and the width");
  if (source.weight == nullptr) return bad("a source needs its weight");
  return {};
}

Status check_input(const ExtractTargetsArgs& args) {
  if (static_cast<int>(args.dtype) < 0 || static_cast<int>(args.dtype) > 2) return bad("no such dtype");
  if (args.input != ExtractTargetsArgs::kFeatures) {
    const bool known = args.input == ExtractTargetsArgs::kProbability || args.input == ExtractTargetsArgs::kLogits;
    return known ? check_map(args) : bad("no such input");
  }
  if (args.sources[0].map == nullptr) return bad("features need their first source");
  const Status first = check_source(args, args.sources[0]);
  return !first.ok() || args.sources[1].map == nullptr ? first : check_source(args, args.sources[1]);
}

Status check_frames(const ExtractTargetsArgs& args) {
  if (args.frames == nullptr) return {};
  if (!is_sample(args.frame_type)) return bad("frame_type must be 'B', 'H', 'e' or 'f'");
  const std::size_t size = sample_bytes(args.frame_type);
  if (!aligned(args.frames, size) || !multiples(args.frame_row_bytes, args.frame_bytes, size))
    return bad("frames and their strides must be multiples of the sample's size");
  const ContrastRule& rule = args.rule;
  if (rule.gap < 0 || rule.reach <= rule.gap || rule.reach > 1024) return bad("a ring needs 0 <= gap < reach <= 1024");
  return {};
}

}  // namespace

std::size_t workspace_bytes(const ExtractTargetsArgs& args) {
  if (!check_shape(args).ok()) return 0;
  std::size_t bytes;
  workspace::lay_out(0, args.height, args.width, args.capacity, bytes);
  return static_cast<std::size_t>(args.batch) * bytes;
}

Status check(const ExtractTargetsArgs& args) {
  Status status = check_shape(args);
  if (!status.ok() || args.batch == 0) return status;
  if (!(args.threshold >= kLeastThreshold && args.threshold <= 1.0)) return bad("threshold must be 2^-16 to 1");
  status = check_input(args);
  if (status.ok()) status = check_frames(args);
  if (!status.ok()) return status;
  if (args.output == nullptr || !aligned(args.output, 16)) return bad("output must be 16-byte aligned");
  if (args.workspace == nullptr || !aligned(args.workspace, 16)) return bad("workspace must be 16-byte aligned");
  if (args.workspace_bytes < workspace_bytes(args)) return bad("workspace is smaller than workspace_bytes says");
  return {};
}

Status launch_host(const ExtractTargetsArgs& args) { return launch_all(args, OnHost{}); }

}  // namespace extractor
}  // namespace pitviper
