// SPDX-License-Identifier: Apache-2.0
#include "residual_kernel.h"

namespace pitviper {
namespace residual_block {

Status check(const ResidualBlockArgs& a) {
  // The first convolution alone has the same needs; its output is not written.
  ConvBlockArgs first;
  first.dtype = a.dtype;
  first.frame_dtype = a.frame_dtype;
  first.load = a.load;
  first.batch = a.batch;
  first.height = a.height;
  first.width = a.width;
  first.in_channels = a.in_channels;
  first.out_channels = a.channels;
  first.input = a.input;
  first.weight = a.weight1;
  first.bias = a.bias1;
  first.output = a.output;
  const Status checked = conv_block::check(first);
  if (!checked.ok()) return checked;
  const char* wrong = nullptr;
  if (a.channels > 128 || a.in_channels > 128) wrong = "a residual block takes at most 128 channels";
  if (a.shortcut && (a.load != Load::kMap || a.in_channels != a.channels))
    wrong = "a shortcut needs load kMap and as many in_channels as channels";
  if (a.weight2 == nullptr || a.bias2 == nullptr) wrong = "weight2 or bias2 is null";
  if (reinterpret_cast<std::uintptr_t>(a.weight2) % 16 != 0) wrong = "weight2 is not 16-byte aligned";
  if (a.input == a.output) wrong = "output must not be input: blocks read their neighbours' pixels";
  return wrong == nullptr ? Status{} : Status{Status::kBadArgument, wrong};
}

Status launch_host(const ResidualBlockArgs& args) { return launch_all(args, OnHost{}); }

}  // namespace residual_block
}  // namespace pitviper
