// SPDX-License-Identifier: Apache-2.0
#include "extract_targets_host.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace pitviper {
namespace {

using Index = std::int32_t;
constexpr std::ptrdiff_t kBlock = 64;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Pixels [begin, end) of one row, all above the threshold. parent leads to the first run of its component.
struct Run {
  Index row;
  Index begin;
  Index end;
  Index parent;
};

struct Component {
  double weight = 0.0;
  double weighted_x = 0.0;
  double weighted_y = 0.0;
  Index area = 0;
  Index left = std::numeric_limits<Index>::max();
  Index top = 0;
  Index right = 0;
  Index bottom = 0;
  float peak = 0.0f;
  double mean() const { return weight / area; }
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
};

Index find(std::vector<Run>& runs, Index run) {
  while (runs[run].parent != run) {
    runs[run].parent = runs[runs[run].parent].parent;
    run = runs[run].parent;
  }
  return run;
}

// The earlier run becomes the root, so that roots stand in raster order of first pixels.
void join(std::vector<Run>& runs, Index a, Index b) {
  a = find(runs, a);
  b = find(runs, b);
  if (a < b) runs[b].parent = a;
  if (b < a) runs[a].parent = b;
}

void close_run(std::vector<Run>& runs, std::ptrdiff_t row, std::ptrdiff_t begin, std::ptrdiff_t end) {
  const Index self = static_cast<Index>(runs.size());
  runs.push_back({static_cast<Index>(row), static_cast<Index>(begin), static_cast<Index>(end), self});
}

// Appends the runs of one row; returns how many values are not finite. Blocks without a pixel above cost one comparison
// each.
PITVIPER_INLINE std::int64_t scan_row(const float* values, std::ptrdiff_t width, std::ptrdiff_t row, float threshold,
                                      std::vector<Run>& runs) {
  std::int64_t bad = 0;
  std::ptrdiff_t begin = -1;
  for (std::ptrdiff_t start = 0; start < width; start += kBlock) {
    const std::ptrdiff_t stop = std::min(start + kBlock, width);
    std::int32_t above = 0, broken = 0;
    const auto look = [&](std::ptrdiff_t x) {
      above |= values[x] > threshold ? 1 : 0;
      broken += nonfinite(values[x]) ? 1 : 0;
    };
    if (stop - start == kBlock) {
#pragma omp simd reduction(| : above) reduction(+ : broken)
      for (std::ptrdiff_t x = 0; x < kBlock; ++x) look(start + x);
    } else {
      for (std::ptrdiff_t x = start; x < stop; ++x) look(x);
    }
    bad += broken;
    if (above == 0) {
      if (begin >= 0) close_run(runs, row, begin, start);
      begin = -1;
      continue;
    }
    for (std::ptrdiff_t x = start; x < stop; ++x) {
      const bool inside = values[x] > threshold;
      if (inside && begin < 0) begin = x;
      if (!inside && begin >= 0) {
        close_run(runs, row, begin, x);
        begin = -1;
      }
    }
  }
  if (begin >= 0) close_run(runs, row, begin, width);
  return bad;
}

// Joins the runs [current, end) of a row with those [previous, current) of the row above, corners included.
void join_rows(std::vector<Run>& runs, std::size_t previous, std::size_t current) {
  std::size_t upper = previous;
  for (std::size_t lower = current; lower < runs.size(); ++lower) {
    while (upper < current && runs[upper].end < runs[lower].begin) ++upper;
    for (std::size_t k = upper; k < current && runs[k].begin <= runs[lower].end; ++k) {
      join(runs, static_cast<Index>(k), static_cast<Index>(lower));
    }
  }
}

PITVIPER_CLONES std::int64_t find_runs(const View<float>& map, float threshold, std::vector<Run>& runs) {
  std::int64_t bad = 0;
  std::size_t previous = 0;
  for (std::ptrdiff_t y = 0; y < map.height; ++y) {
    const std::size_t current = runs.size();
    bad += scan_row(map.row(y), map.width, y, threshold, runs);
    if (runs.size() == current) {
      previous = current;
      continue;
    }
    if (current > 0 && runs[current - 1].row == y - 1) join_rows(runs, previous, current);
    previous = current;
  }
  return bad;
}

// Sums pixel by pixel in raster order, as the definition does, so that both round alike. Afterwards a run's parent is
// the index of its component.
std::vector<Component> measure(const View<float>& map, std::vector<Run>& runs) {
  std::vector<Component> components;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Run& run = runs[i];
    if (run.parent == static_cast<Index>(i)) {
      run.parent = static_cast<Index>(components.size());
      components.emplace_back();
      components.back().top = run.row;
    } else {
      run.parent = runs[run.parent].parent;
    }
    Component& component = components[run.parent];
    const float* const values = map.row(run.row);
    const double y = run.row + 0.5;
    for (Index x = run.begin; x < run.end; ++x) {
      const double value = values[x];
      component.weight += value;
      component.weighted_x += value * (x + 0.5);
      component.weighted_y += value * y;
      component.peak = std::max(component.peak, values[x]);
    }
    component.area += run.end - run.begin;
    component.left = std::min(component.left, run.begin);
    component.right = std::max(component.right, run.end);
    component.bottom = run.row + 1;
  }
  return components;
}

// Indices of the components to keep, in raster order: all, or the highest peaks, then the highest means, then the
// first.
std::vector<Index> select(const std::vector<Component>& components, std::int64_t max_targets) {
  std::vector<Index> kept(components.size());
  for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = static_cast<Index>(i);
  if (static_cast<std::int64_t>(kept.size()) <= max_targets) return kept;
  const auto before = [&](Index a, Index b) {
    const Component &first = components[a], &second = components[b];
    if (first.peak != second.peak) return first.peak > second.peak;
    const double means[2] = {first.mean(), second.mean()};
    return means[0] != means[1] ? means[0] > means[1] : a < b;
  };
  std::nth_element(kept.begin(), kept.begin() + max_targets, kept.end(), before);
  kept.resize(static_cast<std::size_t>(max_targets));
  std::sort(kept.begin(), kept.end());
  return kept;
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2.0;
}

float contrast(std::vector<double>& ring, const Range& target, const ContrastRule& rule) {
  if (ring.size() < static_cast<std::size_t>(rule.fewest)) return kNaN;
  const double centre = median(ring);
  const bool bright = target.high - centre >= centre - target.low;
  const double excess = (bright ? target.high : target.low) - centre;
  double squares = 0.0;
  for (double& value : ring) {
    value = std::abs(value - centre);
    squares += value * value;
  }
  double deviation = rule.mad_to_deviation * median(ring);
  if (deviation == 0.0) deviation = std::sqrt(squares / static_cast<double>(ring.size()));
  if (deviation == 0.0 && excess == 0.0) return 0.0f;
  return static_cast<float>(excess / deviation);
}

template <typename Sample>
class Surroundings {
 public:
  Surroundings(const View<Sample>& frame, const View<float>& map, float threshold, const ContrastRule& rule)
      : frame_(frame), map_(map), threshold_(threshold), rule_(rule) {}

  float contrast_of(const Component& target, const Range& range) {
    ring_.clear();
    const std::ptrdiff_t gap = rule_.gap, reach = rule_.reach;
    const std::ptrdiff_t left = std::max<std::ptrdiff_t>(target.left - reach, 0);
    const std::ptrdiff_t right = std::min(target.right + reach, map_.width);
    const std::ptrdiff_t bottom = std::min(target.bottom + reach, map_.height);
    for (std::ptrdiff_t y = std::max<std::ptrdiff_t>(target.top - reach, 0); y < bottom; ++y) {
      if (y < target.top - gap || y >= target.bottom + gap) {
        take(y, left, right);
      } else {
        take(y, left, std::min<std::ptrdiff_t>(target.left - gap, right));
        take(y, std::max<std::ptrdiff_t>(target.right + gap, left), right);
      }
    }
    return contrast(ring_, range, rule_);
  }

 private:
  void take(std::ptrdiff_t y, std::ptrdiff_t begin, std::ptrdiff_t end) {
    const float* const values = map_.row(y);
    const Sample* const samples = frame_.row(y);
    for (std::ptrdiff_t x = begin; x < end; ++x) {
      if (!(values[x] > threshold_)) ring_.push_back(value_of(samples[x]));
    }
  }

  View<Sample> frame_;
  View<float> map_;
  float threshold_;
  ContrastRule rule_;
  std::vector<double> ring_;
};

template <typename Sample>
void add_contrast(const View<Sample>& frame, const View<float>& map, float threshold, const ContrastRule& rule,
                  const std::vector<Run>& runs, const std::vector<Component>& components,
                  const std::vector<Index>& kept, TargetTable& table) {
  std::vector<Index> place(components.size(), -1);
  for (std::size_t i = 0; i < kept.size(); ++i) place[kept[i]] = static_cast<Index>(i);
  std::vector<Range> ranges(kept.size());
  for (const Run& run : runs) {
    if (place[run.parent] < 0) continue;
    Range& range = ranges[place[run.parent]];
    const Sample* const samples = frame.row(run.row);
    for (Index x = run.begin; x < run.end; ++x) {
      const double value = value_of(samples[x]);
      range.low = std::min(range.low, value);
      range.high = std::max(range.high, value);
    }
  }
  Surroundings<Sample> surroundings(frame, map, threshold, rule);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    table.snr[i] = surroundings.contrast_of(components[kept[i]], ranges[i]);
  }
}

TargetTable tabulate(const std::vector<Component>& components, const std::vector<Index>& kept) {
  TargetTable table;
  table.total = static_cast<std::int64_t>(components.size());
  table.snr.assign(kept.size(), kNaN);
  for (const Index index : kept) {
    const Component& target = components[index];
    table.xy.insert(table.xy.end(), {target.weighted_x / target.weight, target.weighted_y / target.weight});
    for (const Index edge : {target.left, target.top, target.right, target.bottom}) {
      table.xyxy.push_back(static_cast<float>(edge));
    }
    table.area.push_back(target.area);
    table.peak.push_back(target.peak);
    table.mean.push_back(static_cast<float>(target.mean()));
  }
  return table;
}

}  // namespace

TargetTable extract_targets(const View<float>& probability, const Frame& frame, double threshold,
                            std::int64_t max_targets, const ContrastRule& rule) {
  const float limit = float_below(threshold);
  std::vector<Run> runs;
  const std::int64_t bad = find_runs(probability, limit, runs);
  if (bad > 0) {
    TargetTable refused;
    refused.nonfinite = bad;
    return refused;
  }
  const std::vector<Component> components = measure(probability, runs);
  const std::vector<Index> kept = select(components, max_targets);
  TargetTable table = tabulate(components, kept);
  if (frame.origin == nullptr || kept.empty()) return table;
  const auto with = [&](const auto& view) {
    add_contrast(view, probability, limit, rule, runs, components, kept, table);
  };
  switch (frame.type) {
    case 'B': with(frame.as<std::uint8_t>()); break;
    case 'H': with(frame.as<std::uint16_t>()); break;
    case 'e': with(frame.as<Half>()); break;
    case 'f': with(frame.as<float>()); break;
    default: throw std::invalid_argument("no such sample type");
  }
  return table;
}

}  // namespace pitviper
