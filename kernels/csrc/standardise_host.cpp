// SPDX-License-Identifier: Apache-2.0
#include "standardise_host.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

namespace pitviper {
namespace {

struct Moments {
  double mean = 0.0;
  double deviation = 0.0;
  double residual = 0.0;
};

struct Sums {
  double first = 0.0;
  double second = 0.0;
};

PITVIPER_INLINE std::ptrdiff_t reflected(std::ptrdiff_t index, std::ptrdiff_t size) {
  if (index < 0) return -index;
  return index < size ? index : 2 * (size - 1) - index;
}

double standard_deviation(const Sums& sums, double count) {
  const double mean = sums.first / count;
  return std::sqrt(std::max(0.0, sums.second / count - mean * mean));
}

// Integers are summed in doubles too: every term is an integer, so the sums are exact below 2^53.
template <typename Value>
PITVIPER_INLINE void add_row(const Value* values, std::ptrdiff_t width, Sums& sums) {
  double first = 0.0, second = 0.0;
#pragma omp simd reduction(+ : first, second)
  for (std::ptrdiff_t x = 0; x < width; ++x) {
    const double value = values[x];
    first += value;
    second += value * value;
  }
  sums.first += first;
  sums.second += second;
}

// Adds box^2 times the residual of one row; columns points at the box sum of column 0 - radius.
template <int FixedBox, typename Value>
PITVIPER_INLINE void add_residual(const Value* row, const Value* columns, std::ptrdiff_t width, int any_box,
                                  Sums& sums) {
  const int box = FixedBox > 0 ? FixedBox : any_box;
  const Value area = static_cast<Value>(box * box);
  double first = 0.0, second = 0.0;
#pragma omp simd reduction(+ : first, second)
  for (std::ptrdiff_t x = 0; x < width; ++x) {
    Value sum = columns[x];
    for (int k = 1; k < box; ++k) sum += columns[x + k];
    const double value = area * row[x] - sum;
    first += value;
    second += value * value;
  }
  sums.first += first;
  sums.second += second;
}

// Values are taken from a pivot pixel: whatever it is, (mean - pivot)^2 <= n variance bounds the cancellation.
template <int FixedBox, typename Sample>
PITVIPER_INLINE Moments measure(const View<Sample>& frame, int box) {
  using Value = decltype(value_of(Sample{}));
  const std::ptrdiff_t height = frame.height, width = frame.width, radius = box / 2, slots = box + 1;
  const Value pivot = value_of(frame.row(0)[0]);
  std::vector<Value> ring(static_cast<std::size_t>(slots * width));
  std::vector<Value> columns(static_cast<std::size_t>(width + 2 * radius), Value{0});
  Value* const inner = columns.data() + radius;
  const auto slot = [&](std::ptrdiff_t y) { return ring.data() + (y % slots) * width; };
  Sums frame_sums, residual_sums;
  std::ptrdiff_t loaded = 0;
  for (std::ptrdiff_t y = 0; y < height; ++y) {
    for (; loaded < height && loaded <= y + radius; ++loaded) {
      const Sample* const source = frame.row(loaded);
      Value* const target = slot(loaded);
      for (std::ptrdiff_t x = 0; x < width; ++x) target[x] = value_of(source[x]) - pivot;
      add_row(target, width, frame_sums);
    }
    if (y == 0) {
      for (std::ptrdiff_t k = -radius; k <= radius; ++k) {
        const Value* const added = slot(reflected(k, height));
        for (std::ptrdiff_t x = 0; x < width; ++x) inner[x] += added[x];
      }
    } else {
      const Value* const added = slot(reflected(y + radius, height));
      const Value* const removed = slot(reflected(y - 1 - radius, height));
      for (std::ptrdiff_t x = 0; x < width; ++x) inner[x] += added[x] - removed[x];
    }
    for (std::ptrdiff_t k = 1; k <= radius; ++k) {
      inner[-k] = inner[k];
      inner[width - 1 + k] = inner[width - 1 - k];
    }
    add_residual<FixedBox>(slot(y), columns.data(), width, box, residual_sums);
  }
  const double count = static_cast<double>(height) * static_cast<double>(width);
  return {pivot + frame_sums.first / count, standard_deviation(frame_sums, count),
          standard_deviation(residual_sums, count) / (box * box)};
}

template <typename Sample>
PITVIPER_INLINE void write(const View<Sample>& frame, const Plane& out, double mean, double scale) {
  const double gain = 1.0 / scale;
  for (std::ptrdiff_t y = 0; y < frame.height; ++y) {
    const Sample* const source = frame.row(y);
    float* const target = out.origin + y * out.width;
    for (std::ptrdiff_t x = 0; x < frame.width; ++x) {
      target[x] = static_cast<float>((value_of(source[x]) - mean) * gain);
    }
    for (std::ptrdiff_t x = frame.width; x < out.width; ++x) target[x] = target[reflected(x, frame.width)];
  }
  for (std::ptrdiff_t y = frame.height; y < out.height; ++y) {
    std::memcpy(out.origin + y * out.width, out.origin + reflected(y, frame.height) * out.width,
                static_cast<std::size_t>(out.width) * sizeof(float));
  }
}

template <typename Sample>
PITVIPER_INLINE void run(const View<Sample>& frame, const Plane& out, const StandardiseRule& rule) {
  const Moments moments = rule.box == 5 ? measure<5>(frame, 5) : measure<0>(frame, rule.box);
  if (moments.deviation == 0.0) {
    std::fill_n(out.origin, out.height * out.width, 0.0f);
    return;
  }
  const double scale = rule.residual_weight * moments.residual + rule.deviation_weight * moments.deviation;
  write(frame, out, moments.mean, scale);
}

PITVIPER_CLONES void run_u8(const View<std::uint8_t>& f, const Plane& o, const StandardiseRule& r) { run(f, o, r); }
PITVIPER_CLONES void run_u16(const View<std::uint16_t>& f, const Plane& o, const StandardiseRule& r) { run(f, o, r); }
PITVIPER_CLONES void run_f16(const View<Half>& f, const Plane& o, const StandardiseRule& r) { run(f, o, r); }
PITVIPER_CLONES void run_f32(const View<float>& f, const Plane& o, const StandardiseRule& r) { run(f, o, r); }

template <typename Sample>
PITVIPER_INLINE std::int64_t count(const View<Sample>& frame) {
  std::int64_t total = 0;
  for (std::ptrdiff_t y = 0; y < frame.height; ++y) {
    const Sample* const row = frame.row(y);
    std::int32_t found = 0;
#pragma omp simd reduction(+ : found)
    for (std::ptrdiff_t x = 0; x < frame.width; ++x) found += nonfinite(row[x]) ? 1 : 0;
    total += found;
  }
  return total;
}

PITVIPER_CLONES std::int64_t count_f16(const View<Half>& frame) { return count(frame); }
PITVIPER_CLONES std::int64_t count_f32(const View<float>& frame) { return count(frame); }

}  // namespace

std::int64_t count_nonfinite(const Frame& frame) {
  if (frame.type == 'e') return count_f16(frame.as<Half>());
  if (frame.type == 'f') return count_f32(frame.as<float>());
  return 0;
}

void standardise(const Frame& frame, const Plane& out, const StandardiseRule& rule) {
  if (rule.box < 3 || rule.box > 63 || rule.box % 2 == 0) throw std::invalid_argument("box must be odd and 3 to 63");
  switch (frame.type) {
    case 'B': return run_u8(frame.as<std::uint8_t>(), out, rule);
    case 'H': return run_u16(frame.as<std::uint16_t>(), out, rule);
    case 'e': return run_f16(frame.as<Half>(), out, rule);
    case 'f': return run_f32(frame.as<float>(), out, rule);
    default: throw std::invalid_argument("no such sample type");
  }
}

}  // namespace pitviper
