// SPDX-License-Identifier: Apache-2.0
// Runs of set bits within a word of the mask, and their union into 8-connected components. The smaller node becomes the
// root, so that a component's root is its first pixel in raster order, in whatever order threads join.
#pragma once
#include "extract_targets_workspace.h"

namespace pitviper {
namespace extractor {

PV_HD int lowest_bit(std::uint32_t word) {
#ifdef __CUDA_ARCH__
  return __ffs(static_cast<int>(word)) - 1;
#else
  return __builtin_ctz(word);
#endif
}

// word is not 0.
PV_HD int highest_bit(std::uint32_t word) {
#ifdef __CUDA_ARCH__
  return 31 - __clz(static_cast<int>(word));
#else
  return 31 - __builtin_clz(word);
#endif
}

PV_HD std::int32_t atomic_min(std::int32_t* word, std::int32_t value) {
#ifdef __CUDA_ARCH__
  return atomicMin(word, value);
#else
  const std::int32_t before = *word;
  if (value < before) *word = value;
  return before;
#endif
}

template <typename T>
PV_HD void atomic_raise(T* word, T value) {
#ifdef __CUDA_ARCH__
  atomicMax(word, value);
#else
  if (value > *word) *word = value;
#endif
}

template <typename T>
PV_HD void atomic_lower(T* word, T value) {
#ifdef __CUDA_ARCH__
  atomicMin(word, value);
#else
  if (value < *word) *word = value;
#endif
}

// Calls visit(begin, end) for each run of set bits, from the lowest.
template <typename Visit>
PV_HD void for_each_run(std::uint32_t word, Visit visit) {
  while (word != 0) {
    const int begin = lowest_bit(word);
    const std::uint32_t ended = ~(word >> begin);  // its bits above the word are set unless begin is 0
    const int end = ended == 0 ? kWordBits : begin + lowest_bit(ended);
    visit(begin, end);
    word = end >= kWordBits ? 0 : word & (~std::uint32_t{0} << end);
  }
}

// The first bit of the run that holds `bit`.
PV_HD int run_begin(std::uint32_t word, int bit) {
  const std::uint32_t gaps = ~word & ((std::uint32_t{1} << bit) - 1);
  return gaps == 0 ? 0 : highest_bit(gaps) + 1;
}

// Other threads lower parents meanwhile; whatever is read is an ancestor.
PV_HD std::int32_t peek(const std::int32_t* parent) { return *static_cast<const volatile std::int32_t*>(parent); }

// Shortens the way it goes: only nodes that have a parent are written, and they never become roots again, so a link
// that another thread sets at the same time may be lost only where that thread goes on to join what it replaced.
PV_HD std::int32_t root_of(std::int32_t* parents, std::int32_t node) {
  std::int32_t parent = peek(parents + node);
  while (parent != node) {
    const std::int32_t above = peek(parents + parent);
    if (above != parent) *static_cast<volatile std::int32_t*>(parents + node) = above;
    node = parent;
    parent = above;
  }
  return node;
}

PV_HD void join(std::int32_t* parents, std::int32_t a, std::int32_t b) {
  for (;;) {
    a = root_of(parents, a);
    b = root_of(parents, b);
    if (a == b) return;
    if (a > b) {
      const std::int32_t smaller = b;
      b = a;
      a = smaller;
    }
    const std::int32_t before = atomic_min(parents + b, a);
    if (before == b) return;
    b = before;  // b was no root any more: what it hung under belongs together with a as well
  }
}

// Joins the runs of a word with those they touch to the left and in the row above, corners included.
PV_HD void join_neighbours(const Workspace& space, int index, int words) {
  const std::uint32_t* const mask = space.mask;
  const std::uint32_t word = mask[index];
  const int column = index % words;
  const std::int32_t self = index * kWordBits;
  if (column > 0 && (word & 1u) != 0 && mask[index - 1] >> 31 != 0)
    join(space.parents, self - kWordBits + run_begin(mask[index - 1], 31), self);
  if (index < words) return;
  const int above = index - words;
  const std::int32_t over = above * kWordBits;
  const std::uint32_t upper = mask[above];
  const std::uint32_t left = column > 0 ? mask[above - 1] : 0, right = column + 1 < words ? mask[above + 1] : 0;
  for_each_run(word, [&](int begin, int end) {
    const int from = begin > 0 ? begin - 1 : 0, to = end < kWordBits ? end : kWordBits - 1;
    const std::uint32_t reach = (~std::uint32_t{0} << from) & (~std::uint32_t{0} >> (kWordBits - 1 - to));
    for_each_run(upper & reach,
                 [&](int first, int) { join(space.parents, over + run_begin(upper, first), self + begin); });
    if (begin == 0 && left >> 31 != 0) join(space.parents, over - kWordBits + run_begin(left, 31), self);
    if (end == kWordBits && (right & 1u) != 0) join(space.parents, over + kWordBits, self + begin);
  });
}

}  // namespace extractor
}  // namespace pitviper
