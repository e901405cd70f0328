// SPDX-License-Identifier: Apache-2.0
// The two kernels of standardise. Statistics of integer frames are sums of integers, exact in any order; those of float
// frames are summed in an order that the shape alone decides. So a frame gives the same bits in every run.
#pragma once
#include <cmath>

#include "samples.h"
#include "standardise.h"

namespace pitviper {
namespace standardiser {

constexpr int kBox = 5;
constexpr int kRadius = kBox / 2;
constexpr int kTileRows = 32;
constexpr int kTileColumns = 64;
constexpr int kMostPartials = 512;
constexpr int kSums = 5;  // x, x^2, 25 r, (25 r)^2, values that are not finite

PV_HD int tiles_of(int height, int width) { return blocks_over(height, kTileRows) * blocks_over(width, kTileColumns); }
PV_HD int partials_of(int tiles) { return tiles < kMostPartials ? tiles : kMostPartials; }

// The workspace holds [batch][kSums][partials] words of eight bytes.
constexpr std::size_t kWord = 8;

// The edge is not repeated; what lies beyond the reflection is clamped, and used by nobody.
PV_HD int reflected(int index, int size) {
  if (index < 0) index = -index;
  if (index >= size) index = 2 * (size - 1) - index;
  return index < 0 ? 0 : index;
}

PV_HD std::ptrdiff_t row_offset(const StandardiseArgs& args, int frame, int row) {
  return frame * args.frame_bytes + row * args.row_bytes;
}

// First launch: each block sums over its tiles and leaves five numbers. 25 r = 25 x - (sum of the box) is an integer
// for integers. Floats are taken from the frame's first pixel p: (mean - p)^2 <= n var bounds the cancellation.
template <typename S>
struct Measure : PhaseDefaults {
  using Args = StandardiseArgs;
  using Sample = SampleOf<S>;
  using Value = typename Sample::Value;
  using Sum = std::conditional_t<Sample::kInteger, std::int64_t, double>;
  static_assert(sizeof(Sum) == kWord);
  struct Tile {
    Value values[kTileRows + 2 * kRadius][kTileColumns + 2 * kRadius];
    Value columns[kTileRows][kTileColumns + 2 * kRadius];
  };
  static constexpr int kThreads = 256;
  static constexpr int kPhases = 6;
  static constexpr int kLoopBegin = 0;
  static constexpr int kLoopEnd = 3;
  static constexpr int kGroup = 16;
  union Shared {
    Tile tile;
    Sum sums[kSums][kThreads];
  };
  struct State {
    int turn = 0;
    Sum sums[kSums] = {};
  };

  PV_HD static int tiles(const Args& args) { return tiles_of(args.height, args.width); }
  PV_HD static int partials(const Args& args) { return partials_of(tiles(args)); }
  PV_HD static int loop_count(const Args& args, Index block) {
    return blocks_over(tiles(args) - block.x, partials(args));
  }
  PV_HD static Value pivot(const Args& args, int frame) {
    if constexpr (Sample::kInteger) return 0;
    return Sample::value(read<S>(args.frames, row_offset(args, frame, 0), 0));
  }

  struct Corner {
    int row, column;
  };
  PV_HD static Corner corner(const Args& args, Index block, const State& state) {
    const int tile = block.x + state.turn * partials(args);
    const int across = blocks_over(args.width, kTileColumns);
    return {tile / across * kTileRows, tile % across * kTileColumns};
  }

  PV_HD static void load(const Args& args, Index block, int thread, State& state, Shared& shared) {
    constexpr int kRows = kTileRows + 2 * kRadius, kColumns = kTileColumns + 2 * kRadius;
    const Corner at = corner(args, block, state);
    const Value origin = pivot(args, block.y);
    for (int i = thread; i < kRows * kColumns; i += kThreads) {
      const int r = i / kColumns, c = i % kColumns;
      const int y = at.row + r - kRadius, x = at.column + c - kRadius;
      const int row = reflected(y, args.height), column = reflected(x, args.width);
      const S sample = read<S>(args.frames, row_offset(args, block.y, row), column);
      shared.tile.values[r][c] = Sample::value(sample) - origin;
      const bool own = r >= kRadius && r < kRadius + kTileRows && c >= kRadius && c < kRadius + kTileColumns;
      if (own && y < args.height && x < args.width && !Sample::finite(sample)) state.sums[4] += 1;
    }
  }

  PV_HD static void add_columns(int thread, Shared& shared) {
    constexpr int kColumns = kTileColumns + 2 * kRadius;
    for (int i = thread; i < kTileRows * kColumns; i += kThreads) {
      const int r = i / kColumns, c = i % kColumns;
      Value sum = shared.tile.values[r][c];
      for (int k = 1; k < kBox; ++k) sum += shared.tile.values[r + k][c];
      shared.tile.columns[r][c] = sum;
    }
  }

  PV_HD static void accumulate(const Args& args, Index block, int thread, State& state, const Shared& shared) {
    const Corner at = corner(args, block, state);
    const int c = thread % kTileColumns;
    ++state.turn;
    if (at.column + c >= args.width) return;
    for (int r = thread / kTileColumns; r < kTileRows; r += kThreads / kTileColumns) {
      if (at.row + r >= args.height) return;
      const Value value = shared.tile.values[r + kRadius][c + kRadius];
      Value box = shared.tile.columns[r][c];
      for (int k = 1; k < kBox; ++k) box += shared.tile.columns[r][c + k];
      const Value residual = kBox * kBox * value - box;
      state.sums[0] += value;
      state.sums[1] += static_cast<Sum>(value) * value;
      state.sums[2] += residual;
      state.sums[3] += static_cast<Sum>(residual) * residual;
    }
  }

  template <int P>
  PV_HD static void phase(const Args& args, Index block, int thread, State& state, Shared& shared) {
    if constexpr (P == 0) load(args, block, thread, state, shared);
    if constexpr (P == 1) add_columns(thread, shared);
    if constexpr (P == 2) accumulate(args, block, thread, state, shared);
    if constexpr (P == 3) {
      for (int q = 0; q < kSums; ++q) shared.sums[q][thread] = state.sums[q];
    }
    if constexpr (P == 4) {
      if (thread >= kSums * kGroup) return;
      Sum* const group = shared.sums[thread / kGroup] + thread % kGroup * (kThreads / kGroup);
      for (int k = 1; k < kThreads / kGroup; ++k) group[0] += group[k];
    }
    if constexpr (P == 5) {
      if (thread >= kSums) return;
      Sum total = 0;
      for (int k = 0; k < kGroup; ++k) total += shared.sums[thread][k * (kThreads / kGroup)];
      const int count = partials(args);
      static_cast<Sum*>(args.workspace)[(block.y * kSums + thread) * count + block.x] = total;
    }
  }
};

// From a sample to its standardised value, for integers in float: the difference to the nearest integer of the mean is
// exact, so three roundings remain (the fraction's subtraction, the gain, the product).
struct Scale {
  std::int32_t whole;
  float fraction;
  float gain;
  double mean;
  double precise_gain;
};

PV_HD float scaled(std::int32_t value, const Scale& scale) {
  return (static_cast<float>(value - scale.whole) - scale.fraction) * scale.gain;
}
PV_HD float scaled(double value, const Scale& scale) {
  return static_cast<float>((value - scale.mean) * scale.precise_gain);
}

// Of the population. n^2 var = n sum(x^2) - sum(x)^2 is computed without a rounding: below 2^108 for 2^31 pixels of 16
// bits.
PV_HD double deviation_of(const __int128* sums, std::int64_t count) {
  const __int128 spread = sums[1] * count - sums[0] * sums[0];
  return sqrt(to_double(static_cast<Wide128>(spread))) / static_cast<double>(count);
}
PV_HD double deviation_of(const double* sums, std::int64_t count) {
  const double n = static_cast<double>(count), mean = sums[0] / n;
  const double variance = sums[1] / n - mean * mean;
  return variance > 0.0 ? sqrt(variance) : 0.0;
}

PV_HD double mean_of(const __int128* sums, std::int64_t count) {
  return static_cast<double>(static_cast<std::int64_t>(sums[0])) / static_cast<double>(count);
}
PV_HD double mean_of(const double* sums, std::int64_t count) { return sums[0] / static_cast<double>(count); }

PV_HD void split_mean(const __int128* sums, std::int64_t count, Scale& scale) {
  const std::int64_t sum = static_cast<std::int64_t>(sums[0]);
  scale.whole = static_cast<std::int32_t>(rint(mean_of(sums, count)));
  scale.fraction = static_cast<float>(static_cast<double>(sum - scale.whole * count) / static_cast<double>(count));
}
PV_HD void split_mean(const double*, std::int64_t, Scale& scale) {
  scale.whole = 0;
  scale.fraction = 0.0f;
}

// Second launch: every block adds up the few numbers of the first one in the same order, then writes its share.
template <typename S, typename Out>
struct Write : PhaseDefaults {
  using Args = StandardiseArgs;
  using Sample = SampleOf<S>;
  using Sum = typename Measure<S>::Sum;
  using Total = std::conditional_t<Sample::kInteger, __int128, double>;
  static constexpr int kThreads = 256;
  static constexpr int kPhases = 5;
  static constexpr int kGroup = 16;
  static constexpr int kRowPixels = 4;  // of a plane, written by one thread at once
  static constexpr int kUnits = 2;      // written by one thread in turn
  struct Shared {
    Total groups[kSums][kGroup];
    Total totals[kSums];
    double deviations[2];  // of x and of 25 r
    Scale scale;
  };
  struct State {};

  PV_HD static int units_across(const Args& args) {
    return args.channels > 1 ? args.out_width / args.block : blocks_over(args.out_width, kRowPixels);
  }
  PV_HD static int units(const Args& args) { return units_across(args) * (args.out_height / args.block); }

  PV_HD static std::int64_t pixels(const Args& args) { return static_cast<std::int64_t>(args.height) * args.width; }

  PV_HD static void decide(const Args& args, Index block, Shared& shared) {
    const double deviation = shared.deviations[0], residual = shared.deviations[1] / (kBox * kBox);
    const std::int64_t nonfinite = static_cast<std::int64_t>(shared.totals[4]);
    double mean = mean_of(shared.totals, pixels(args));
    if constexpr (!Sample::kInteger) mean += Measure<S>::pivot(args, block.y);
    const double divisor = args.rule.residual_weight * residual + args.rule.deviation_weight * deviation;
    Scale& scale = shared.scale;
    split_mean(shared.totals, pixels(args), scale);
    scale.mean = mean;
    scale.precise_gain = deviation == 0.0 ? 0.0 : 1.0 / divisor;
    if (nonfinite > 0) scale.precise_gain = NAN;
    scale.gain = static_cast<float>(scale.precise_gain);
    if (block.x == 0 && args.statistics != nullptr)
      args.statistics[block.y] = {mean, deviation == 0.0 ? 0.0 : divisor, nonfinite};
  }

  PV_HD static Out value_at(const Args& args, int frame, int y, int x, const Scale& scale) {
    const int row = reflected(y, args.height), column = reflected(x, args.width);
    const S sample = read<S>(args.frames, row_offset(args, frame, row), column);
    return from_float<Out>(scaled(Sample::value(sample), scale));
  }

  PV_HD static void write_row(const Args& args, int frame, int unit, const Scale& scale) {
    const int across = units_across(args);
    const int y = unit / across, x = unit % across * kRowPixels;
    Out* const target = static_cast<Out*>(args.output) +
                        (static_cast<std::ptrdiff_t>(frame) * args.out_height + y) * args.out_width + x;
    if (args.out_width % kRowPixels == 0) {
      Pack<Out, kRowPixels> pack;
      for (int k = 0; k < kRowPixels; ++k) pack.values[k] = value_at(args, frame, y, x + k, scale);
      *reinterpret_cast<Pack<Out, kRowPixels>*>(target) = pack;
    } else {
      for (int k = 0; k < kRowPixels && x + k < args.out_width; ++k) target[k] = value_at(args, frame, y, x + k, scale);
    }
  }

  PV_HD static void write_cell(const Args& args, int frame, int unit, const Scale& scale) {
    constexpr int kPack = 16 / static_cast<int>(sizeof(Out));
    const int across = units_across(args);
    const int y = unit / across * args.block, x = unit % across * args.block;
    Out* const target =
        static_cast<Out*>(args.output) + (static_cast<std::ptrdiff_t>(frame) * units(args) + unit) * args.channels;
    Pack<Out, kPack> pack;
    for (int k = 0; k < kPack; ++k) pack.values[k] = from_float<Out>(0.0f);
    for (int first = kPack; first < args.channels; first += kPack)
      *reinterpret_cast<Pack<Out, kPack>*>(target + first) = pack;
    pack.values[0] = value_at(args, frame, y, x, scale);
    if (args.block == 2) {
      for (int k = 1; k < 4; ++k) pack.values[k] = value_at(args, frame, y + k / 2, x + k % 2, scale);
    }
    *reinterpret_cast<Pack<Out, kPack>*>(target) = pack;
  }

  template <int P>
  PV_HD static void phase(const Args& args, Index block, int thread, State&, Shared& shared) {
    if constexpr (P == 0) {
      if (thread >= kSums * kGroup) return;
      const int count = partials_of(tiles_of(args.height, args.width)), sum = thread / kGroup;
      const Sum* const partials = static_cast<const Sum*>(args.workspace) + (block.y * kSums + sum) * count;
      Total total = 0;
      for (int k = thread % kGroup; k < count; k += kGroup) total += partials[k];
      shared.groups[sum][thread % kGroup] = total;
    }
    if constexpr (P == 1) {
      if (thread >= kSums) return;
      Total total = 0;
      for (int k = 0; k < kGroup; ++k) total += shared.groups[thread][k];
      shared.totals[thread] = total;
    }
    if constexpr (P == 2) {
      if (thread < 2) shared.deviations[thread] = deviation_of(shared.totals + 2 * thread, pixels(args));
    }
    if constexpr (P == 3) {
      if (thread == 0) decide(args, block, shared);
    }
    if constexpr (P == 4) {
      for (int k = 0; k < kUnits; ++k) {
        const int unit = (block.x * kUnits + k) * kThreads + thread;
        if (unit >= units(args)) return;
        args.channels > 1 ? write_cell(args, block.y, unit, shared.scale)
                          : write_row(args, block.y, unit, shared.scale);
      }
    }
  }
};

// The launches in their order; `run.template launch<K>(args, grid)` queues one and answers a Status.
template <typename S, typename Out, typename Run>
Status launch_both(const StandardiseArgs& args, Run run) {
  const Index measured{partials_of(tiles_of(args.height, args.width)), args.batch, 1};
  const Status status = run.template launch<Measure<S>>(args, measured);
  if (!status.ok()) return status;
  using Second = Write<S, Out>;
  const Index written{blocks_over(Second::units(args), Second::kThreads * Second::kUnits), args.batch, 1};
  return run.template launch<Second>(args, written);
}

template <typename S, typename Run>
Status launch_for_output(const StandardiseArgs& args, Run run) {
  return with_type(args.out_dtype, [&](auto zero) { return launch_both<S, decltype(zero)>(args, run); });
}

template <typename Run>
Status launch_all(const StandardiseArgs& args, Run run) {
  const Status status = check(args);
  if (!status.ok() || args.batch == 0) return status;
  switch (args.type) {
    case 'B': return launch_for_output<std::uint8_t>(args, run);
    case 'H': return launch_for_output<std::uint16_t>(args, run);
    case 'e': return launch_for_output<Float16>(args, run);
    default: return launch_for_output<float>(args, run);
  }
}

}  // namespace standardiser
}  // namespace pitviper
