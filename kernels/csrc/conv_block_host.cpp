// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "conv_kernel.h"

namespace pitviper {
namespace conv_block {

namespace {

bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

// Why a map or weights cannot be read; null is for the caller to judge.
const char* check_merge(const ConvBlockArgs& a) {
  const Merge& m = a.merge;
  if (m.mode == Merge::kNone) return nullptr;
  if (m.mode != Merge::kAdd && m.mode != Merge::kAffine) return "merge.mode must be kNone, kAdd or kAffine";
  if (a.load != Load::kMap) return "a merge needs load kMap";
  if (m.scale != 1 && m.scale != 2) return "merge.scale must be 1 or 2";
  if (a.height % m.scale != 0 || a.width % m.scale != 0) return "merge.scale 2 needs an even height and width";
  if (m.low_channels < 16 || m.low_channels > 128 || m.low_channels % 16 != 0)
    return "merge.low_channels must be a multiple of 16, 16 to 128";
  if (m.low == nullptr || m.weight == nullptr || m.bias == nullptr) return "a pointer of merge is null";
  if (!aligned(m.low) || !aligned(m.weight)) return "a pointer of merge is not 16-byte aligned";
  return nullptr;
}

const char* check_head(const ConvBlockArgs& a) {
  const Head& h = a.head;
  if (h.outputs == 0) return nullptr;
  if (h.outputs != 1 && h.outputs != 4) return "head.outputs must be 0, 1 or 4";
  if (a.out_channels > 64) return "a head needs 16, 32, 48 or 64 out_channels";
  if (a.residual != nullptr || a.upsample != 1) return "a head takes neither residual nor upsample";
  if (h.weight == nullptr || h.bias == nullptr || h.logits == nullptr) return "a pointer of head is null";
  if (h.coarse == nullptr) return nullptr;
  if (h.coarse_weight == nullptr) return "head.coarse needs head.coarse_weight";
  if (h.coarse_channels < 16 || h.coarse_channels > 128 || h.coarse_channels % 16 != 0)
    return "head.coarse_channels must be a multiple of 16, 16 to 128";
  const int height = (a.height + a.stride - 1) / a.stride, width = (a.width + a.stride - 1) / a.stride;
  if (h.outputs == 1 && (height % 2 != 0 || width % 2 != 0))
    return "head.coarse at half resolution needs an even height and width";
  return nullptr;
}

const char* check_shape(const ConvBlockArgs& a) {
  if (a.dtype != Dtype::kFloat32 && a.dtype != Dtype::kFloat16 && a.dtype != Dtype::kBFloat16)
    return "dtype must be float32, float16 or bfloat16";
  if (a.batch < 0 || a.batch > 65535) return "batch must be 0 to 65535";
  if (a.height < 1 || a.width < 1) return "height and width must be at least 1";
  if (a.kernel != 1 && a.kernel != 3) return "kernel must be 1 or 3";
  if (a.stride != 1 && a.stride != 2) return "stride must be 1 or 2";
  if (a.upsample != 1 && a.upsample != 2) return "upsample must be 1 or 2";
  if (a.upsample == 2 && (a.kernel != 1 || a.stride != 1)) return "upsample 2 needs kernel 1 and stride 1";
  if (a.out_channels < 16 || a.out_channels % 16 != 0) return "out_channels must be a positive multiple of 16";
  if (a.load == Load::kMap && (a.in_channels < 16 || a.in_channels % 16 != 0))
    return "in_channels must be a positive multiple of 16";
  if (a.load == Load::kFrame && a.in_channels != 1) return "load kFrame needs in_channels 1";
  if (a.load == Load::kFrameToDepth && a.in_channels != 4) return "load kFrameToDepth needs in_channels 4";
  if (a.load != Load::kMap && a.frame_dtype != a.dtype && a.frame_dtype != Dtype::kFloat32)
    return "frame_dtype must be float32 or dtype";
  const std::int64_t most = std::max(a.in_channels, a.out_channels);
  if (4 * most * a.height * a.width > INT32_MAX) return "an image has more than 2^31 elements";
  return nullptr;
}

}  // namespace

Status check(const ConvBlockArgs& a) {
  const char* wrong = check_shape(a);
  if (wrong == nullptr) wrong = check_merge(a);
  if (wrong == nullptr) wrong = check_head(a);
  if (wrong == nullptr && (a.input == nullptr || a.weight == nullptr || a.bias == nullptr))
    wrong = "input, weight or bias is null";
  if (wrong == nullptr && a.head.outputs == 0 && a.output == nullptr) wrong = "output is null";
  if (wrong == nullptr && !(aligned(a.input) && aligned(a.weight) && aligned(a.residual) && aligned(a.output)))
    wrong = "input, weight, residual or output is not 16-byte aligned";
  return wrong == nullptr ? Status{} : Status{Status::kBadArgument, wrong};
}

Status launch_host(const ConvBlockArgs& args) { return launch_all(args, OnHost{}); }

}  // namespace conv_block
}  // namespace pitviper
