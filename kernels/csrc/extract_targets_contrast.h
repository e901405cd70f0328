// SPDX-License-Identifier: Apache-2.0
// Third launch of extract_targets: one block for each record measures its contrast to the ring around its box. Medians
// are selected digit by digit, which is exact and takes a ring of any size.
#pragma once
#include "extract_targets_components.h"

namespace pitviper {
namespace extractor {

// The frame's pixels at a Chebyshev distance of gap + 1 to reach from a box: rows above it, rows below it, and what is
// left and right of it in the rows between.
struct Ring {
  int left, top, right, bottom;                          // of the outer box
  int inner_left, inner_top, inner_right, inner_bottom;  // of what is left out, inside the outer one

  PV_HD int width() const { return right - left; }
  PV_HD int sides() const { return inner_left - left + (right - inner_right); }
  PV_HD int above() const { return (inner_top - top) * width(); }
  PV_HD int below() const { return (bottom - inner_bottom) * width(); }
  PV_HD int size() const { return above() + below() + (inner_bottom - inner_top) * sides(); }
};

PV_HD int between(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

PV_HD Ring ring_of(const ExtractTargetsArgs& call, const Component& box) {
  const ContrastRule& rule = call.rule;
  return {between(box.left - rule.reach, 0, call.width),  between(box.top - rule.reach, 0, call.height),
          between(box.right + rule.reach, 0, call.width), between(box.bottom + rule.reach, 0, call.height),
          between(box.left - rule.gap, 0, call.width),    between(box.top - rule.gap, 0, call.height),
          between(box.right + rule.gap, 0, call.width),   between(box.bottom + rule.gap, 0, call.height)};
}

// How values and their distances from the median become keys in their order. Integers: a distance from a median that
// may end in a half is counted in halves. Floats: the bits of the double, as the definition computes in doubles.
template <typename S, bool kInteger = SampleOf<S>::kInteger>
struct Keys {
  static constexpr int kDigits = 5;
  PV_HD static Wide of_value(S sample) { return static_cast<Wide>(sample); }
  PV_HD static double value(Wide key) { return static_cast<double>(key); }
  PV_HD static Wide of_distance(S sample, double centre) {
    const int twice = 2 * static_cast<int>(sample) - static_cast<int>(2.0 * centre);
    return static_cast<Wide>(twice < 0 ? -twice : twice);
  }
  PV_HD static double distance(Wide key) { return static_cast<double>(key) / 2.0; }
};
template <typename S>
struct Keys<S, false> {
  static constexpr int kDigits = 16;
  static constexpr Wide kSign = Wide{1} << 63;
  PV_HD static Wide of_double(double value) {
    Wide bits;
    memcpy(&bits, &value, sizeof(bits));
    return (bits & kSign) != 0 ? ~bits : bits | kSign;
  }
  PV_HD static Wide of_value(S sample) { return of_double(SampleOf<S>::value(sample)); }
  PV_HD static double value(Wide key) {
    const Wide bits = (key & kSign) != 0 ? key ^ kSign : ~key;
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
  }
  PV_HD static Wide of_distance(S sample, double centre) {
    return of_double(fabs(SampleOf<S>::value(sample) - centre));
  }
  PV_HD static double distance(Wide key) { return value(key); }
};

template <typename S>
struct Contrast : PhaseDefaults {
  using Args = KernelArgs;
  using Key = Keys<S>;
  static constexpr int kThreads = 128;
  static constexpr int kPhases = 9;
  static constexpr int kLoopBegin = 3;
  static constexpr int kLoopEnd = 6;
  static constexpr int kDigitBits = 4;
  static constexpr int kBins = 1 << kDigitBits;
  static constexpr int kGroup = 8;
  // The two middle values of the ring, or of the distances; one and the same when their number is odd.
  struct Search {
    Wide key;
    int rank;  // among the keys that agree so far
    int bins[kBins];
  };
  struct Shared {
    Search searches[2];
    int counts[kThreads];
    double squares[kThreads];
    int count;
    double centre;
    double spread;  // median distance
  };
  struct State {
    int turn = 0;
  };

  PV_HD static bool idle(const Args& args, Index block) { return block.x >= workspace_of(args, block.y).counts[1]; }
  PV_HD static int loop_count(const Args& args, Index block) { return idle(args, block) ? 0 : 2 * Key::kDigits; }

  PV_HD static const Component& target(const Args& args, Index block) {
    const Workspace space = workspace_of(args, block.y);
    return space.components[space.kept[block.x]];
  }

  // Calls visit(sample) for a thread's share of the ring's pixels that belong to no component.
  template <typename Visit>
  PV_HD static void for_each_pixel(const Args& args, Index block, int thread, Visit visit) {
    const ExtractTargetsArgs& call = args.call;
    const Ring ring = ring_of(call, target(args, block));
    const std::uint32_t* const mask = workspace_of(args, block.y).mask;
    const int words = words_of(call.width), size = ring.size(), above = ring.above(), ends = above + ring.below();
    for (int i = thread; i < size; i += kThreads) {
      int y, x;
      if (i < ends) {
        const int inside = i < above ? i : i - above;
        y = (i < above ? ring.top : ring.inner_bottom) + inside / ring.width();
        x = ring.left + inside % ring.width();
      } else {
        const int inside = (i - ends) % ring.sides(), left = ring.inner_left - ring.left;
        y = ring.inner_top + (i - ends) / ring.sides();
        x = inside < left ? ring.left + inside : ring.inner_right + inside - left;
      }
      if ((mask[y * words + x / kWordBits] >> (x % kWordBits) & 1u) != 0) continue;
      visit(read<S>(call.frames, block.y * call.frame_bytes + y * call.frame_row_bytes, x));
    }
  }

  PV_HD static void begin_search(Shared& shared) {
    for (int s = 0; s < 2; ++s) {
      shared.searches[s].key = 0;
      shared.searches[s].rank = s == 0 ? (shared.count - 1) / 2 : shared.count / 2;
    }
  }

  PV_HD static void count_digits(const Args& args, Index block, int thread, const State& state, Shared& shared) {
    const bool distances = state.turn >= Key::kDigits;
    const int shift = kDigitBits * (Key::kDigits - 1 - state.turn % Key::kDigits);
    const double centre = shared.centre;
    for_each_pixel(args, block, thread, [&](S sample) {
      const Wide key = distances ? Key::of_distance(sample, centre) : Key::of_value(sample);
      for (int s = 0; s < 2; ++s) {
        Search& search = shared.searches[s];
        // In two steps: the highest digit has nothing before it, and a shift by 64 is undefined.
        if (((key ^ search.key) >> shift) >> kDigitBits == 0)
          atomic_add(&search.bins[static_cast<int>(key >> shift) & (kBins - 1)], 1);
      }
    });
  }

  PV_HD static void choose_digits(const State& state, Shared& shared) {
    const int shift = kDigitBits * (Key::kDigits - 1 - state.turn % Key::kDigits);
    for (int s = 0; s < 2; ++s) {
      Search& search = shared.searches[s];
      int chosen = 0;
      while (chosen < kBins - 1 && search.rank >= search.bins[chosen]) search.rank -= search.bins[chosen++];
      search.key |= static_cast<Wide>(chosen) << shift;
    }
    const Wide first = shared.searches[0].key, second = shared.searches[1].key;
    if (state.turn == Key::kDigits - 1) {
      shared.centre = (Key::value(first) + Key::value(second)) / 2.0;
      begin_search(shared);
    } else if (state.turn == 2 * Key::kDigits - 1) {
      shared.spread = (Key::distance(first) + Key::distance(second)) / 2.0;
    }
  }

  PV_HD static float contrast(const Args& args, const Component& component, const Shared& shared) {
    if (shared.count < args.call.rule.fewest) return NAN;
    const double high = static_cast<double>(value_of_key(component.highest)) - shared.centre;
    const double low = static_cast<double>(value_of_key(component.lowest)) - shared.centre;
    const double excess = high >= -low ? high : low;
    double deviation = args.call.rule.mad_to_deviation * shared.spread;
    if (deviation == 0.0) {
      double squares = 0.0;
      for (int k = 0; k < kThreads / kGroup; ++k) squares += shared.squares[k * kGroup];
      deviation = sqrt(squares / shared.count);
    }
    if (deviation == 0.0 && excess == 0.0) return 0.0f;
    return static_cast<float>(excess / deviation);
  }

  template <int P>
  PV_HD static void phase(const Args& args, Index block, int thread, State& state, Shared& shared) {
    if (idle(args, block)) return;
    if constexpr (P == 0) {
      int count = 0;
      for_each_pixel(args, block, thread, [&](S) { ++count; });
      shared.counts[thread] = count;
    }
    if constexpr (P == 1) {
      if (thread % kGroup != 0) return;
      for (int k = 1; k < kGroup; ++k) shared.counts[thread] += shared.counts[thread + k];
    }
    if constexpr (P == 2) {
      if (thread != 0) return;
      shared.count = 0;
      for (int k = 0; k < kThreads / kGroup; ++k) shared.count += shared.counts[k * kGroup];
      begin_search(shared);
      shared.centre = 0.0;
    }
    if constexpr (P == 3) {
      if (thread < 2 * kBins) shared.searches[thread / kBins].bins[thread % kBins] = 0;
    }
    if constexpr (P == 4) count_digits(args, block, thread, state, shared);
    if constexpr (P == 5) {
      if (thread == 0) choose_digits(state, shared);
      ++state.turn;
    }
    if constexpr (P == 6) {
      double squares = 0.0;
      if (shared.spread == 0.0) {
        for_each_pixel(args, block, thread, [&](S sample) {
          const double distance = SampleOf<S>::value(sample) - shared.centre;
          squares += distance * distance;
        });
      }
      shared.squares[thread] = squares;
    }
    if constexpr (P == 7) {
      if (thread % kGroup != 0) return;
      for (int k = 1; k < kGroup; ++k) shared.squares[thread] += shared.squares[thread + k];
    }
    if constexpr (P == 8) {
      if (thread == 0) records_of(args.call, block.y)[block.x].snr = contrast(args, target(args, block), shared);
    }
  }
};

}  // namespace extractor
}  // namespace pitviper
