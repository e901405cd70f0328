// SPDX-License-Identifier: Apache-2.0
#include "samples.h"
#include "staging.h"
#include "standardise_phases.h"

namespace pitviper {
namespace standardiser {
Status launch_cuda(const StandardiseArgs& args, void* stream) { return launch_all(args, OnStream{stream}); }

Status run_cuda(const StandardiseArgs& args) {
  StandardiseArgs there = args;
  there.workspace = args.output;  // stands in until it is allocated, so that check() sees complete arguments
  there.workspace_bytes = workspace_bytes(args);
  const Status status = check(there);
  if (!status.ok() || args.batch == 0) return status;
  if (args.row_bytes < 0 || args.frame_bytes < 0) return {Status::kBadArgument, "strides must not be negative"};
  const std::size_t in =
      span_of(args.batch, args.height, args.width, sample_bytes(args.type), args.row_bytes, args.frame_bytes);
  const std::size_t cells = static_cast<std::size_t>(args.out_height / args.block) * (args.out_width / args.block);
  const std::size_t out = args.batch * cells * args.channels * bytes_of(args.out_dtype);
  const std::size_t measured = args.batch * sizeof(FrameStatistics);
  DeviceBuffer frames, output, statistics, workspace;
  return in_turn([&] { return frames.fill(args.frames, in); }, [&] { return output.allocate(out); },
                 [&] { return statistics.allocate(measured); },
                 [&] { return workspace.allocate(there.workspace_bytes); },
                 [&] {
                   there.frames = frames.at();
                   there.output = output.at();
                   there.statistics = static_cast<FrameStatistics*>(statistics.at());
                   there.workspace = workspace.at();
                   return launch_cuda(there, nullptr);
                 },
                 [&] { return output.read(args.output, out); },
                 [&] { return args.statistics == nullptr ? Status{} : statistics.read(args.statistics, measured); });
}

}  // namespace standardiser
}  // namespace pitviper
