// SPDX-License-Identifier: Apache-2.0
#include "extract_targets_phases.h"
#include "staging.h"

namespace pitviper {
namespace extractor {
Status launch_cuda(const ExtractTargetsArgs& args, void* stream) { return launch_all(args, OnStream{stream}); }

Status run_cuda(const ExtractTargetsArgs& args) {
  ExtractTargetsArgs there = args;
  there.workspace = args.output;  // stands in until it is allocated, so that check() sees complete arguments
  there.workspace_bytes = workspace_bytes(args);
  const Status status = check(there);
  if (!status.ok() || args.batch == 0) return status;
  if (args.input == ExtractTargetsArgs::kFeatures || args.statistics != nullptr)
    return {Status::kBadArgument, "features and statistics are taken from device memory only"};
  if (args.row_bytes < 0 || args.map_bytes < 0 || args.frame_row_bytes < 0 || args.frame_bytes < 0)
    return {Status::kBadArgument, "strides must not be negative"};
  const std::size_t in =
      span_of(args.batch, args.height, args.width, bytes_of(args.dtype), args.row_bytes, args.map_bytes);
  const std::size_t raw = args.frames == nullptr
                              ? 0
                              : span_of(args.batch, args.height, args.width, sample_bytes(args.frame_type),
                                        args.frame_row_bytes, args.frame_bytes);
  const std::size_t out = args.batch * output_bytes(args.capacity);
  DeviceBuffer map, frames, output, workspace;
  return in_turn([&] { return map.fill(args.map, in); },
                 [&] { return raw == 0 ? Status{} : frames.fill(args.frames, raw); },
                 [&] { return output.allocate(out); }, [&] { return workspace.allocate(there.workspace_bytes); },
                 [&] {
                   there.map = map.at();
                   there.frames = frames.at();
                   there.output = output.at();
                   there.workspace = workspace.at();
                   return launch_cuda(there, nullptr);
                 },
                 [&] { return output.read(args.output, out); });
}

}  // namespace extractor
}  // namespace pitviper
