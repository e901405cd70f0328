// SPDX-License-Identifier: Apache-2.0
// The probability of a pixel, whatever it is computed from. Every launch that needs it computes it anew with the same
// operations in the same order, so that the map is never stored.
#pragma once
#include "extract_targets_workspace.h"

namespace pitviper {
namespace extractor {

// exp(x) for x <= 0 to about two units in the last place, by the same roundings on every machine: 2^n times a
// polynomial on [-ln(2) / 2, ln(2) / 2].
PV_HD float exponential(float x) {
  const float bounded = x < -104.0f ? -104.0f : x;
  const float n = rintf(bounded * 1.44269504f);
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float sum = 1.0f / 5040.0f;
  sum = sum * r + 1.0f / 720.0f;
  sum = sum * r + 1.0f / 120.0f;
  sum = sum * r + 1.0f / 24.0f;
  sum = sum * r + 1.0f / 6.0f;
  sum = sum * r + 0.5f;
  sum = sum * r * r + r + 1.0f;
  // In two steps, because 2^-150 is no float.
  const int exponent = static_cast<int>(n), half = exponent / 2;
  const float first = numbers::float_of(static_cast<std::uint32_t>(half + 127) << 23);
  const float second = numbers::float_of(static_cast<std::uint32_t>(exponent - half + 127) << 23);
  return sum * first * second;
}

PV_HD float sigmoid(float logit) {
  if (logit != logit) return logit;
  const float power = exponential(logit < 0.0f ? logit : -logit);
  return logit < 0.0f ? power / (1.0f + power) : 1.0f / (1.0f + power);
}

// Not a probability: NaN, and in a map of probabilities also what is infinite or above 1. It would break the sums.
PV_HD bool invalid(float probability) { return !(probability <= 1.0f) || !finite(probability); }

template <typename T>
PV_HD float dot(const T* values, const float* weight, int channels, float sum) {
  for (int first = 0; first < channels; first += 8) {
    const Pack<T, 8> pack = *reinterpret_cast<const Pack<T, 8>*>(values + first);
    for (int k = 0; k < 8; ++k) sum = fmaf(to_float(pack.values[k]), weight[first + k], sum);
  }
  return sum;
}

// The logit that one source adds at pixel (y, x); 0 where there is no source.
template <typename T>
PV_HD float logit_of(const HeadSource& source, const float* weight, int frame, int y, int x) {
  if (source.map == nullptr) return 0.0f;
  const int output = source.factor * (y % source.factor) + x % source.factor;
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(frame) * source.rows + y / source.factor;
  const T* const values =
      static_cast<const T*>(source.map) + (row * source.columns + x / source.factor) * source.channels;
  const float bias = source.bias == nullptr ? 0.0f : source.bias[output];
  return dot(values, weight + output * source.channels, source.channels, bias);
}

// weights: of both sources, for a kernel that keeps them closer than the caller does.
template <typename T>
PV_HD float probability_of_features(const ExtractTargetsArgs& call, const float* const* weights, int frame, int y,
                                    int x) {
  return sigmoid(logit_of<T>(call.sources[0], weights[0], frame, y, x) +
                 logit_of<T>(call.sources[1], weights[1], frame, y, x));
}

template <typename T>
PV_HD float probability_of_map(const ExtractTargetsArgs& call, int frame, int y, int x) {
  const float value = to_float(read<T>(call.map, frame * call.map_bytes + y * call.row_bytes, x));
  return call.input == ExtractTargetsArgs::kLogits ? sigmoid(value) : value;
}

// For the few pixels of targets, where a choice at run time costs nothing.
PV_HD float probability_at(const ExtractTargetsArgs& call, int frame, int y, int x) {
  const float* const weights[2] = {call.sources[0].weight, call.sources[1].weight};
  const bool features = call.input == ExtractTargetsArgs::kFeatures;
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    return features ? probability_of_features<T>(call, weights, frame, y, x) : probability_of_map<T>(call, frame, y, x);
  });
}

// First launch: one bit for each pixel. A thread takes a cell of 2 x 2 pixels, which is one value of a packed stage.
template <typename T, bool kFromFeatures>
struct Mask : PhaseDefaults {
  using Args = KernelArgs;
  static constexpr int kThreads = 256;
  static constexpr int kPhases = 4;
  static constexpr int kMostWeights = 4 * 128;
  static constexpr int kCellsAcross = kMaskColumns / 2;
  struct Weights {
    float values[2][kMostWeights];
  };
  struct None {};
  struct Shared {
    std::uint8_t above[kMaskRows][kMaskColumns];
    std::uint8_t bad[kThreads];
    std::int32_t groups[kWordBits];
    std::conditional_t<kFromFeatures, Weights, None> weights;
  };
  struct State {};

  PV_HD static void stage_weights(const ExtractTargetsArgs& call, int thread, Shared& shared) {
    if constexpr (kFromFeatures) {
      for (int s = 0; s < 2; ++s) {
        const HeadSource& source = call.sources[s];
        const int count = source.map == nullptr ? 0 : source.factor * source.factor * source.channels;
        for (int i = thread; i < count; i += kThreads) shared.weights.values[s][i] = source.weight[i];
      }
    }
  }

  PV_HD static float probability(const ExtractTargetsArgs& call, int frame, int y, int x, const Shared& shared) {
    if constexpr (kFromFeatures) {
      const float* const weights[2] = {shared.weights.values[0], shared.weights.values[1]};
      return probability_of_features<T>(call, weights, frame, y, x);
    } else {
      return probability_of_map<T>(call, frame, y, x);
    }
  }

  PV_HD static void compare(const Args& args, Index block, int thread, Shared& shared) {
    const int top = thread / kCellsAcross * 2, left = thread % kCellsAcross * 2;
    int bad = 0;
    for (int k = 0; k < 4; ++k) {
      const int r = top + k / 2, c = left + k % 2;
      const int y = block.y * kMaskRows + r, x = block.x * kMaskColumns + c;
      bool above = false;
      if (y < args.call.height && x < args.call.width) {
        const float value = probability(args.call, block.z, y, x, shared);
        above = value > args.limit;
        bad += invalid(value) ? 1 : 0;
      }
      shared.above[r][c] = above ? 1 : 0;
    }
    shared.bad[thread] = static_cast<std::uint8_t>(bad);
  }

  PV_HD static void write_words(const Args& args, Index block, int thread, const Shared& shared) {
    const int r = thread / 2, y = block.y * kMaskRows + r;
    const int word = block.x * (kMaskColumns / kWordBits) + thread % 2, words = words_of(args.call.width);
    if (y >= args.call.height || word >= words) return;
    std::uint32_t bits = 0;
    for (int k = 0; k < kWordBits; ++k)
      bits |= static_cast<std::uint32_t>(shared.above[r][thread % 2 * kWordBits + k]) << k;
    workspace_of(args, block.z).mask[y * words + word] = bits;
  }

  template <int P>
  PV_HD static void phase(const Args& args, Index block, int thread, State&, Shared& shared) {
    if constexpr (P == 0) stage_weights(args.call, thread, shared);
    if constexpr (P == 1) compare(args, block, thread, shared);
    if constexpr (P == 2) {
      if (thread < 2 * kMaskRows) {
        write_words(args, block, thread, shared);
      } else if (thread < 2 * kMaskRows + kWordBits) {
        std::int32_t sum = 0;
        const int group = thread - 2 * kMaskRows;
        for (int k = 0; k < kThreads / kWordBits; ++k) sum += shared.bad[group * (kThreads / kWordBits) + k];
        shared.groups[group] = sum;
      }
    }
    if constexpr (P == 3) {
      if (thread != 0) return;
      std::int32_t sum = 0;
      for (int k = 0; k < kWordBits; ++k) sum += shared.groups[k];
      const int across = blocks_over(args.call.width, kMaskColumns);
      workspace_of(args, block.z).invalid[block.y * across + block.x] = sum;
    }
  }
};

}  // namespace extractor
}  // namespace pitviper
