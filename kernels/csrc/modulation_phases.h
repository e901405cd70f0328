// SPDX-License-Identifier: Apache-2.0
// The kernels of affine_modulate and samf_fuse. Each thread takes eight channels of one pixel: 16 bytes of a half type.
#pragma once
#include "affine_modulate.h"
#include "samf_fuse.h"
#include "samples.h"

namespace pitviper {
namespace modulation {

constexpr int kEight = 8;
constexpr int kThreads = 256;

template <typename T>
using Eight = Pack<T, kEight>;

template <typename T>
PV_HD const Eight<T>& eight(const void* map, std::int64_t pack) {
  return static_cast<const Eight<T>*>(map)[pack];
}
template <typename T>
PV_HD Eight<T>& eight(void* map, std::int64_t pack) {
  return static_cast<Eight<T>*>(map)[pack];
}

template <typename Args>
PV_HD std::int64_t packs(const Args& args, int channels) {
  return static_cast<std::int64_t>(args.batch) * args.height * args.width * (channels / kEight);
}

template <typename Args>
Index grid_of(const Args& args, int channels) {
  return {static_cast<int>((packs(args, channels) + kThreads - 1) / kThreads), 1, 1};
}

struct OnePhase : PhaseDefaults {
  static constexpr int kThreads = modulation::kThreads;
  static constexpr int kPhases = 1;
  struct Shared {};
  struct State {};
  PV_HD static std::int64_t pack_of(Index block, int thread) {
    return static_cast<std::int64_t>(block.x) * kThreads + thread;
  }
};

template <typename T>
struct Affine : OnePhase {
  using Args = AffineModulateArgs;

  template <int P>
  PV_HD static void phase(const Args& args, Index block, int thread, State&, Shared&) {
    const std::int64_t pack = pack_of(block, thread);
    if (pack >= packs(args, args.channels)) return;
    const int across = args.channels / kEight;
    const std::int64_t frame = pack / (static_cast<std::int64_t>(args.height) * args.width * across);
    const std::int64_t parameters = args.per_pixel != 0 ? pack : frame * across + pack % across;
    const Eight<T> features = eight<T>(args.features, pack);
    const Eight<T> gamma = eight<T>(args.gamma, parameters), beta = eight<T>(args.beta, parameters);
    Eight<T> residual = {};
    if (args.residual != nullptr) residual = eight<T>(args.residual, pack);
    Eight<T> out;
    for (int k = 0; k < kEight; ++k) {
      const float gain = 1.0f + args.strength * (to_float(gamma.values[k]) - 1.0f);
      float value = gain * to_float(features.values[k]) + args.strength * to_float(beta.values[k]);
      if (args.residual != nullptr) value += to_float(residual.values[k]);
      out.values[k] = from_float<T>(args.relu != 0 && value < 0.0f ? 0.0f : value);
    }
    eight<T>(args.output, pack) = out;
  }
};

// Where an output pixel lies between two pixels of the prior, clamped to the centres of the outermost ones.
struct Between {
  int low, high;
  float weight;  // of high
};
PV_HD Between between(int at, int size, int prior) {
  const float place = (static_cast<float>(at) + 0.5f) * (static_cast<float>(prior) / static_cast<float>(size)) - 0.5f;
  const float bounded = place > 0.0f ? place : 0.0f;
  const int floor = static_cast<int>(bounded), low = floor < prior - 1 ? floor : prior - 1;
  return {low, low + 1 < prior ? low + 1 : low, bounded - static_cast<float>(low)};
}

template <typename T>
struct Split : OnePhase {
  using Args = SamfSplitArgs;

  struct Place {
    std::int64_t corners[4];  // packs of the prior
    float down, right;
  };

  PV_HD static void resized(const void* prior, const Place& at, float* values) {
    for (int k = 0; k < kEight; ++k) values[k] = 0.0f;
    for (int corner = 0; corner < 4; ++corner) {
      const float weight =
          (corner / 2 != 0 ? at.down : 1.0f - at.down) * (corner % 2 != 0 ? at.right : 1.0f - at.right);
      // Beyond the last row or column the neighbour has no weight, and an infinity there must not spread.
      if (weight == 0.0f) continue;
      const Eight<T> read = eight<T>(prior, at.corners[corner]);
      for (int k = 0; k < kEight; ++k) values[k] += weight * to_float(read.values[k]);
    }
  }

  template <int P>
  PV_HD static void phase(const Args& args, Index block, int thread, State&, Shared&) {
    const int half = args.channels / 2, across = half / kEight;
    const std::int64_t pack = pack_of(block, thread);
    if (pack >= packs(args, half)) return;
    const int c = static_cast<int>(pack % across);
    const std::int64_t pixel = pack / across;
    const int x = static_cast<int>(pixel % args.width), y = static_cast<int>(pixel / args.width % args.height);
    const std::int64_t top = pixel / args.width / args.height * args.prior_height;
    const Between rows = between(y, args.height, args.prior_height), columns = between(x, args.width, args.prior_width);
    Place at;
    at.down = rows.weight;
    at.right = columns.weight;
    for (int corner = 0; corner < 4; ++corner) {
      const int row = corner / 2 != 0 ? rows.high : rows.low, column = corner % 2 != 0 ? columns.high : columns.low;
      at.corners[corner] = ((top + row) * args.prior_width + column) * across + c;
    }
    float values[kEight];
    Eight<T> out;
    resized(args.scale, at, values);
    const Eight<T> first = eight<T>(args.features, pixel * 2 * across + c);
    for (int k = 0; k < kEight; ++k) out.values[k] = from_float<T>(to_float(first.values[k]) * values[k]);
    eight<T>(args.first, pack) = out;
    resized(args.shift, at, values);
    const Eight<T> second = eight<T>(args.features, (pixel * 2 + 1) * across + c);
    for (int k = 0; k < kEight; ++k) out.values[k] = from_float<T>(to_float(second.values[k]) + values[k]);
    eight<T>(args.second, pack) = out;
  }
};

template <typename T>
struct Join : OnePhase {
  using Args = SamfJoinArgs;

  template <int P>
  PV_HD static void phase(const Args& args, Index block, int thread, State&, Shared&) {
    const std::int64_t pack = pack_of(block, thread);
    if (pack >= packs(args, args.channels)) return;
    const int across = args.channels / 2 / kEight;
    const std::int64_t pixel = pack / (2 * across);
    const int c = static_cast<int>(pack % (2 * across));
    const Eight<T> branch =
        c < across ? eight<T>(args.first, pixel * across + c) : eight<T>(args.second, pixel * across + c - across);
    const Eight<T> features = eight<T>(args.features, pack);
    Eight<T> out;
    for (int k = 0; k < kEight; ++k)
      out.values[k] = from_float<T>(to_float(branch.values[k]) + to_float(features.values[k]));
    eight<T>(args.output, pack) = out;
  }
};

// `run.template launch<K>(args, grid)` queues one launch and answers a Status.
template <template <typename> class K, typename Args, typename Run>
Status launch(const Args& args, int channels, Run run) {
  const Index grid = grid_of(args, channels);
  return with_type(args.dtype, [&](auto zero) { return run.template launch<K<decltype(zero)>>(args, grid); });
}

template <typename Run>
Status launch_all(const AffineModulateArgs& args, Run run) {
  const Status status = affine_modulate::check(args);
  return !status.ok() || args.batch == 0 ? status : launch<Affine>(args, args.channels, run);
}
template <typename Run>
Status launch_all(const SamfSplitArgs& args, Run run) {
  const Status status = samf_fuse::check(args);
  return !status.ok() || args.batch == 0 ? status : launch<Split>(args, args.channels / 2, run);
}
template <typename Run>
Status launch_all(const SamfJoinArgs& args, Run run) {
  const Status status = samf_fuse::check(args);
  return !status.ok() || args.batch == 0 ? status : launch<Join>(args, args.channels, run);
}

}  // namespace modulation
}  // namespace pitviper
