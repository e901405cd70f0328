// SPDX-License-Identifier: Apache-2.0
// Second launch of extract_targets: one block for each frame takes the mask to records. Work is proportional to the
// words of the mask that hold a set bit; the rest is read once.
#pragma once
#include "extract_targets_labels.h"
#include "extract_targets_source.h"

namespace pitviper {
namespace extractor {

// Unsigned integers in the order of the floats.
PV_HD std::uint32_t order_key(float value) {
  const std::uint32_t bits = numbers::bits_of(value);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}
PV_HD float value_of_key(std::uint32_t key) { return numbers::float_of((key >> 31) != 0 ? key & 0x7fffffffu : ~key); }

PV_HD float frame_value(const ExtractTargetsArgs& call, int frame, int y, int x) {
  const std::ptrdiff_t offset = frame * call.frame_bytes + y * call.frame_row_bytes;
  switch (call.frame_type) {
    case 'B': return static_cast<float>(read<std::uint8_t>(call.frames, offset, x));
    case 'H': return static_cast<float>(read<std::uint16_t>(call.frames, offset, x));
    case 'e': return to_float(read<Float16>(call.frames, offset, x));
    default: return read<float>(call.frames, offset, x);
  }
}

// Components in the order in which they are kept when the capacity is short: the higher peak, then the higher mean,
// then the earlier one. No two are equal.
struct Rank {
  std::uint32_t words[4];
};

PV_HD Rank rank_of(const Component& component, int index) {
  Wide mean;
  memcpy(&mean, &component.mean, sizeof(mean));
  return {{component.peak, static_cast<std::uint32_t>(mean >> 32), static_cast<std::uint32_t>(mean),
           ~static_cast<std::uint32_t>(index)}};
}

struct Components : PhaseDefaults {
  using Args = KernelArgs;
  static constexpr int kThreads = 512;
  static constexpr int kGroups = 32;
  static constexpr int kInGroup = kThreads / kGroups;
  static constexpr int kPhases = 19;
  static constexpr int kLoopBegin = 12;
  static constexpr int kLoopEnd = 15;
  static constexpr int kDigitBits = 4;
  static constexpr int kDigits = 128 / kDigitBits;
  static constexpr int kBins = 1 << kDigitBits;
  struct Shared {
    std::int32_t counts[kThreads];  // of each thread's share, then of what lies before it in its group
    std::int32_t groups[kGroups];   // of the threads in a group, then of those before it
    std::int32_t bad[kThreads];
    std::int32_t bad_groups[kGroups];
    std::int32_t total;
    std::int32_t active;
    std::int32_t components;
    std::int32_t invalid;
    std::int32_t frame_nonfinite;
    std::int32_t remaining;
    std::int32_t bins[kBins];
    Rank lowest;  // of what is kept, as far as its digits are known
  };
  struct State {
    int digit = 0;
  };

  // A thread's share of `count` things in raster order.
  struct Share {
    int begin, end;
  };
  PV_HD static Share share(int count, int thread) {
    const int each = blocks_over(count, kThreads);
    const int begin = thread * each < count ? thread * each : count;
    return {begin, begin + each < count ? begin + each : count};
  }

  // A sum over the threads before each, in two phases.
  PV_HD static void scan_groups(int thread, Shared& shared) {
    if (thread >= kGroups) return;
    std::int32_t sum = 0;
    for (int k = 0; k < kInGroup; ++k) {
      const std::int32_t count = shared.counts[thread * kInGroup + k];
      shared.counts[thread * kInGroup + k] = sum;
      sum += count;
    }
    shared.groups[thread] = sum;
  }
  PV_HD static void scan_totals(Shared& shared) {
    std::int32_t sum = 0;
    for (int k = 0; k < kGroups; ++k) {
      const std::int32_t count = shared.groups[k];
      shared.groups[k] = sum;
      sum += count;
    }
    shared.total = sum;
  }
  PV_HD static std::int32_t before(int thread, const Shared& shared) {
    return shared.groups[thread / kInGroup] + shared.counts[thread];
  }

  PV_HD static void count_words(const Args& args, const Workspace& space, int thread, Shared& shared) {
    const Share own = share(args.call.height * words_of(args.call.width), thread);
    std::int32_t count = 0, bad = 0;
    for (int i = own.begin; i < own.end; ++i) count += space.mask[i] != 0 ? 1 : 0;
    for (int i = thread; i < mask_blocks(args.call.height, args.call.width); i += kThreads) bad += space.invalid[i];
    shared.counts[thread] = count;
    shared.bad[thread] = bad;
  }

  PV_HD static void refuse_or_go_on(const Args& args, Index block, Shared& shared) {
    std::int32_t bad = 0;
    for (int k = 0; k < kGroups; ++k) bad += shared.bad_groups[k];
    const std::int64_t nonfinite = args.call.statistics == nullptr ? 0 : args.call.statistics[block.x].nonfinite;
    shared.invalid = bad;
    shared.frame_nonfinite = static_cast<std::int32_t>(nonfinite);
    shared.active = bad > 0 || nonfinite > 0 ? 0 : shared.total;
  }

  PV_HD static void list_words(const Args& args, const Workspace& space, int thread, const Shared& shared) {
    if (shared.active == 0) return;
    const Share own = share(args.call.height * words_of(args.call.width), thread);
    std::int32_t place = before(thread, shared);
    for (int i = own.begin; i < own.end; ++i) {
      if (space.mask[i] == 0) continue;
      space.active[place++] = i;
      for_each_run(space.mask[i],
                   [&](int begin, int) { space.parents[i * kWordBits + begin] = i * kWordBits + begin; });
    }
  }

  PV_HD static void count_roots(const Workspace& space, int thread, Shared& shared) {
    const Share own = share(shared.active, thread);
    std::int32_t count = 0;
    for (int i = own.begin; i < own.end; ++i) {
      const int index = space.active[i];
      for_each_run(space.mask[index], [&](int begin, int) {
        const std::int32_t node = index * kWordBits + begin, root = root_of(space.parents, node);
        if (root == node) {
          ++count;
        } else {
          *static_cast<volatile std::int32_t*>(space.parents + node) = root;
        }
      });
    }
    shared.counts[thread] = count;
  }

  PV_HD static void number_components(const Args& args, const Workspace& space, int thread, Shared& shared) {
    const int words = words_of(args.call.width);
    const Share own = share(shared.active, thread);
    std::int32_t place = before(thread, shared);
    for (int i = own.begin; i < own.end; ++i) {
      const int index = space.active[i];
      for_each_run(space.mask[index], [&](int begin, int) {
        const std::int32_t node = index * kWordBits + begin;
        if (space.parents[node] != node) return;
        Component fresh = {};
        fresh.left = args.call.width;
        fresh.top = index / words;
        fresh.lowest = ~std::uint32_t{0};
        space.components[place] = fresh;
        space.parents[node] = -1 - place++;
      });
    }
    if (thread == 0) {
      shared.components = shared.total;
      space.counts[0] = shared.total;
    }
  }

  PV_HD static void add_run(const Args& args, int frame, Component& into, int y, int begin, int end) {
    const float unit = numbers::float_of(static_cast<std::uint32_t>(127 + args.shift) << 23);
    Wide weight = 0, x_sum = 0;
    std::uint32_t peak = 0, lowest = ~std::uint32_t{0}, highest = 0;
    for (int x = begin; x < end; ++x) {
      const float probability = probability_at(args.call, frame, y, x);
      const Wide q = static_cast<Wide>(probability * unit);
      weight += q;
      x_sum += q * static_cast<Wide>(2 * x + 1);
      const std::uint32_t bits = numbers::bits_of(probability);
      peak = bits > peak ? bits : peak;
      if (args.call.frames == nullptr) continue;
      const std::uint32_t key = order_key(frame_value(args.call, frame, y, x));
      lowest = key < lowest ? key : lowest;
      highest = key > highest ? key : highest;
    }
    const Wide y_sum = weight * static_cast<Wide>(2 * y + 1), low_half = 0xffffffffull;
    atomic_add(&into.weight, weight);
    atomic_add(&into.x_high, x_sum >> 32);
    atomic_add(&into.x_low, x_sum & low_half);
    atomic_add(&into.y_high, y_sum >> 32);
    atomic_add(&into.y_low, y_sum & low_half);
    atomic_add(&into.area, end - begin);
    atomic_lower(&into.left, begin);
    atomic_raise(&into.right, end);
    atomic_raise(&into.bottom, y + 1);
    atomic_raise(&into.peak, peak);
    atomic_lower(&into.lowest, lowest);
    atomic_raise(&into.highest, highest);
  }

  PV_HD static void accumulate(const Args& args, const Workspace& space, int frame, int thread, const Shared& shared) {
    const int words = words_of(args.call.width);
    for (int i = thread; i < shared.active; i += kThreads) {
      const int index = space.active[i], y = index / words, column = index % words * kWordBits;
      for_each_run(space.mask[index], [&](int begin, int end) {
        std::int32_t number = space.parents[index * kWordBits + begin];
        // More than one link, where another thread's late write in count_roots put an earlier ancestor back.
        while (number >= 0) number = space.parents[number];
        add_run(args, frame, space.components[-1 - number], y, column + begin, column + end);
      });
    }
  }

  // A power of two, exact.
  PV_HD static double unit_of(const Args& args) { return 1.0 / static_cast<double>(Wide{1} << args.shift); }

  PV_HD static void take_means(const Args& args, const Workspace& space, int thread, Shared& shared) {
    for (int k = thread; k < shared.components; k += kThreads) {
      Component& component = space.components[k];
      component.mean = static_cast<double>(component.weight) * unit_of(args) / component.area;
    }
    if (thread == 0) {
      shared.lowest = {};
      shared.remaining = args.call.capacity;
    }
  }

  PV_HD static int loop_count(const Args& args, Index block) {
    const std::int32_t found = peek(workspace_of(args, block.x).counts);
    return found > args.call.capacity ? kDigits : 0;
  }

  // Chosen by comparison: a register has no address, so indexing would put the rank into local memory.
  PV_HD static std::uint32_t word_of(const Rank& rank, int index) {
    const std::uint32_t low = index == 0 ? rank.words[0] : rank.words[1];
    const std::uint32_t high = index == 2 ? rank.words[2] : rank.words[3];
    return index < 2 ? low : high;
  }
  PV_HD static int digit_of(const Rank& rank, int digit) {
    constexpr int kInWord = 32 / kDigitBits;
    return static_cast<int>(word_of(rank, digit / kInWord) >> (kDigitBits * (kInWord - 1 - digit % kInWord))) &
           (kBins - 1);
  }
  // Whether the first `digit` digits are the same.
  PV_HD static bool same_before(const Rank& a, const Rank& b, int digit) {
    const int bits = kDigitBits * digit, word = bits / 32, rest = bits % 32;
    for (int k = 0; k < 4; ++k) {
      if (k < word && a.words[k] != b.words[k]) return false;
    }
    return rest == 0 || (word_of(a, word) ^ word_of(b, word)) >> (32 - rest) == 0;
  }
  PV_HD static bool at_least(const Rank& a, const Rank& b) {
    for (int k = 0; k < 4; ++k) {
      if (a.words[k] != b.words[k]) return a.words[k] > b.words[k];
    }
    return true;
  }

  PV_HD static void count_digit(const Workspace& space, int thread, int digit, Shared& shared) {
    for (int k = thread; k < shared.components; k += kThreads) {
      const Rank rank = rank_of(space.components[k], k);
      if (same_before(rank, shared.lowest, digit)) atomic_add(&shared.bins[digit_of(rank, digit)], 1);
    }
  }
  PV_HD static void choose_digit(int digit, Shared& shared) {
    constexpr int kInWord = 32 / kDigitBits;
    int chosen = kBins - 1;
    while (shared.remaining > shared.bins[chosen]) shared.remaining -= shared.bins[chosen--];
    shared.lowest.words[digit / kInWord] |= static_cast<std::uint32_t>(chosen)
                                            << (kDigitBits * (kInWord - 1 - digit % kInWord));
  }

  PV_HD static void count_kept(const Workspace& space, int thread, Shared& shared) {
    const Share own = share(shared.components, thread);
    std::int32_t count = 0;
    for (int k = own.begin; k < own.end; ++k) {
      if (at_least(rank_of(space.components[k], k), shared.lowest)) ++count;
    }
    shared.counts[thread] = count;
  }

  PV_HD static double whole(Wide high, Wide low) { return to_double((static_cast<Wide128>(high) << 32) + low); }

  PV_HD static TargetRecord record_of(const Args& args, const Component& component) {
    const double weight = static_cast<double>(component.weight) * unit_of(args);
    TargetRecord record;
    record.x = whole(component.x_high, component.x_low) * (0.5 * unit_of(args)) / weight;
    record.y = whole(component.y_high, component.y_low) * (0.5 * unit_of(args)) / weight;
    record.left = component.left;
    record.top = component.top;
    record.right = component.right;
    record.bottom = component.bottom;
    record.area = component.area;
    record.peak = numbers::float_of(component.peak);
    record.mean = static_cast<float>(component.mean);
    record.snr = NAN;
    return record;
  }

  PV_HD static void write(const Args& args, const Workspace& space, int frame, int thread, const Shared& shared) {
    const Share own = share(shared.components, thread);
    std::int32_t place = before(thread, shared);
    for (int k = own.begin; k < own.end; ++k) {
      if (!at_least(rank_of(space.components[k], k), shared.lowest)) continue;
      records_of(args.call, frame)[place] = record_of(args, space.components[k]);
      space.kept[place++] = k;
    }
    if (thread == 0) {
      *header_of(args.call, frame) = {shared.total, shared.components, shared.invalid, shared.frame_nonfinite};
      space.counts[1] = shared.total;
    }
  }

  template <int P>
  PV_HD static void phase(const Args& args, Index block, int thread, State& state, Shared& shared) {
    const Workspace space = workspace_of(args, block.x);
    if constexpr (P == 0) count_words(args, space, thread, shared);
    if constexpr (P == 1) {
      scan_groups(thread, shared);
      if (thread < kGroups) {
        std::int32_t sum = 0;
        for (int k = 0; k < kInGroup; ++k) sum += shared.bad[thread * kInGroup + k];
        shared.bad_groups[thread] = sum;
      }
    }
    if constexpr (P == 2) {
      if (thread != 0) return;
      scan_totals(shared);
      refuse_or_go_on(args, block, shared);
    }
    if constexpr (P == 3) list_words(args, space, thread, shared);
    if constexpr (P == 4) {
      for (int i = thread; i < shared.active; i += kThreads)
        join_neighbours(space, space.active[i], words_of(args.call.width));
    }
    if constexpr (P == 5) count_roots(space, thread, shared);
    if constexpr (P == 6) scan_groups(thread, shared);
    if constexpr (P == 7) {
      if (thread == 0) scan_totals(shared);
    }
    if constexpr (P == 8) number_components(args, space, thread, shared);
    if constexpr (P == 9) accumulate(args, space, block.x, thread, shared);
    if constexpr (P == 10) take_means(args, space, thread, shared);
    if constexpr (P == 11) {
      if (thread < kBins) shared.bins[thread] = 0;
    }
    if constexpr (P == 12) count_digit(space, thread, state.digit, shared);
    if constexpr (P == 13) {
      if (thread == 0) choose_digit(state.digit, shared);
      ++state.digit;
    }
    if constexpr (P == 14) {
      if (thread < kBins) shared.bins[thread] = 0;
    }
    if constexpr (P == 15) count_kept(space, thread, shared);
    if constexpr (P == 16) scan_groups(thread, shared);
    if constexpr (P == 17) {
      if (thread == 0) scan_totals(shared);
    }
    if constexpr (P == 18) write(args, space, block.x, thread, shared);
  }
};

}  // namespace extractor
}  // namespace pitviper
