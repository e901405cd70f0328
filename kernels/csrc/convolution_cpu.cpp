// SPDX-License-Identifier: Apache-2.0
#include "convolution_cpu.h"

#include <algorithm>
#include <cstring>

#include "frame.h"

namespace pitviper {
namespace convolution_cpu {
namespace {

// Eight channels; loads and stores need no alignment.
typedef float Vector __attribute__((vector_size(32), aligned(4), may_alias));

constexpr int kPixels = 4;     // of one tile of results
constexpr int kChannels = 16;  // of one tile of results: two vectors
constexpr int kLanes = 8;

// Rows of maps between a column of zeros and some more: what lies beside the map, and what a last tile reads too far.
constexpr int kBorder = 1;
constexpr int kTail = 2 * kPixels + 2;

std::size_t row_floats(int width, int channels) {
  return static_cast<std::size_t>(width + kBorder + kTail) * static_cast<std::size_t>(channels);
}

const float* map_row(const void* map, int y, int width, int channels) {
  return static_cast<const float*>(map) + static_cast<std::ptrdiff_t>(y) * width * channels;
}

// results[x][c] = bias[c] + sum of rows[dy][x * stride + dx][in] * weight[3 dy + dx][in][c], in that order. rows point
// at the first column that the first result reads.
PITVIPER_INLINE void convolve(const float* const* rows, int kernel, int stride, int width, int inputs, int outputs,
                              const float* weight, const float* bias, float* results) {
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(stride) * inputs;
  for (int x = 0; x < width; x += kPixels) {
    for (int channel = 0; channel < outputs; channel += kChannels) {
      Vector sums[kPixels][2];
      for (int half = 0; half < 2; ++half) {
        const Vector start = *reinterpret_cast<const Vector*>(bias + channel + half * kLanes);
        for (int pixel = 0; pixel < kPixels; ++pixel) sums[pixel][half] = start;
      }
      const float* factors = weight + channel;
      for (int dy = 0; dy < kernel; ++dy) {
        const float* const values = rows[dy] + x * step;
        for (int tap = 0; tap < kernel * inputs; ++tap, factors += outputs) {
          const Vector low = *reinterpret_cast<const Vector*>(factors);
          const Vector high = *reinterpret_cast<const Vector*>(factors + kLanes);
          for (int pixel = 0; pixel < kPixels; ++pixel) {
            const float value = values[pixel * step + tap];
            sums[pixel][0] += value * low;
            sums[pixel][1] += value * high;
          }
        }
      }
      for (int pixel = 0; pixel < std::min(kPixels, width - x); ++pixel) {
        float* const target = results + static_cast<std::ptrdiff_t>(x + pixel) * outputs + channel;
        for (int half = 0; half < 2; ++half) *reinterpret_cast<Vector*>(target + half * kLanes) = sums[pixel][half];
      }
    }
  }
}

PITVIPER_CLONES void convolve_rows(const float* const* rows, int kernel, int stride, int width, int inputs, int outputs,
                                   const float* weight, const float* bias, float* results) {
  if (kernel == 3) return convolve(rows, 3, stride, width, inputs, outputs, weight, bias, results);
  convolve(rows, 1, stride, width, inputs, outputs, weight, bias, results);
}

// values = relu?(values + added?)
PITVIPER_CLONES void finish(float* values, const float* added, std::ptrdiff_t count, bool relu) {
  if (added != nullptr)
    for (std::ptrdiff_t i = 0; i < count; ++i) values[i] += added[i];
  if (relu)
    for (std::ptrdiff_t i = 0; i < count; ++i) values[i] = values[i] > 0.0f ? values[i] : 0.0f;
}

PITVIPER_CLONES float product(const float* a, const float* b, int count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// Three rows in turn, each between its borders of zeros, and a row of zeros for what lies above and below the map.
class Ring {
 public:
  Ring(float* memory, int width, int channels)
      : memory_(memory), row_(row_floats(width, channels)), channels_(channels) {
    std::memset(memory, 0, floats(width, channels) * sizeof(float));
  }
  static std::size_t floats(int width, int channels) { return 4 * row_floats(width, channels); }

  // Row y from its column 0.
  float* at(int y) { return memory_ + static_cast<std::size_t>(y % 3) * row_ + kBorder * channels_; }
  // The three rows around y from column -1, for a 3x3 kernel; the row itself from column 0 for a 1x1 kernel.
  void around(int y, int height, int kernel, const float** rows) {
    if (kernel == 1) {
      rows[0] = at(y);
      return;
    }
    for (int dy = 0; dy < 3; ++dy) {
      const int row = y + dy - 1;
      rows[dy] = row < 0 || row >= height ? memory_ + 3 * row_ : at(row) - channels_;
    }
  }

 private:
  float* memory_;
  std::size_t row_;
  int channels_;
};

// One row of the input as a map: of a map as it is, of a frame with its columns (and rows) as channels.
void load_row(Load load, const void* input, int y, int width, int channels, float* row) {
  if (load != Load::kFrameToDepth) {
    std::memcpy(row, map_row(input, y, width, channels), sizeof(float) * static_cast<std::size_t>(width * channels));
    return;
  }
  for (int phase = 0; phase < 2; ++phase) {
    const float* const pixels = map_row(input, 2 * y + phase, 2 * width, 1);
    for (int x = 0; x < 2 * width; ++x) row[4 * (x / 2) + 2 * phase + x % 2] = pixels[x];
  }
}

// Adds the 1x1 convolution of the lower map to a row of the skip connection. raised holds one row of its result.
void merge_row(const ConvBlockArgs& args, int y, float* row, float* raised) {
  const Merge& merge = args.merge;
  const int width = args.width / merge.scale, channels = args.in_channels;
  if (y % merge.scale == 0) {
    // The tile that reads past the end of the last row of the map would read outside its memory.
    float* const copied = raised + static_cast<std::ptrdiff_t>(width) * channels;
    std::memcpy(copied, map_row(merge.low, y / merge.scale, width, merge.low_channels),
                sizeof(float) * static_cast<std::size_t>(width * merge.low_channels));
    const float* rows[1] = {copied};
    convolve_rows(rows, 1, 1, width, merge.low_channels, channels, static_cast<const float*>(merge.weight), merge.bias,
                  raised);
  }
  for (int x = 0; x < args.width; ++x) {
    finish(row + static_cast<std::ptrdiff_t>(x) * channels,
           raised + static_cast<std::ptrdiff_t>(x / merge.scale) * channels, channels, merge.relu != 0);
  }
}

void write_logits(const ConvBlockArgs& args, int y, int width, const float* values) {
  const Head& head = args.head;
  const int factor = head.outputs == 4 ? 2 : 1, full = factor * width;
  const float* const coarse =
      head.coarse == nullptr ? nullptr : map_row(head.coarse, y * factor / 2, full / 2, head.coarse_channels);
  for (int x = 0; x < width; ++x) {
    for (int output = 0; output < head.outputs; ++output) {
      const int row = factor * y + output / 2, column = factor * x + output % 2;
      float logit = head.bias[output] + product(values + static_cast<std::ptrdiff_t>(x) * args.out_channels,
                                                head.weight + output * args.out_channels, args.out_channels);
      if (coarse != nullptr) {
        logit +=
            product(coarse + static_cast<std::ptrdiff_t>(column / 2) * head.coarse_channels,
                    head.coarse_weight + (2 * (row % 2) + column % 2) * head.coarse_channels, head.coarse_channels);
      }
      head.logits[static_cast<std::ptrdiff_t>(row) * full + column] = logit;
    }
  }
}

// The epilogue of a row of results, where they are doubled: each pixel goes to four places.
void write_doubled(const ConvBlockArgs& args, int y, const float* values) {
  const std::ptrdiff_t channels = args.out_channels, row_size = 2 * channels * args.width;
  for (int phase = 0; phase < 2; ++phase) {
    const std::ptrdiff_t at = (2 * static_cast<std::ptrdiff_t>(y) + phase) * row_size;
    float* const target = static_cast<float*>(args.output) + at;
    for (int x = 0; x < 2 * args.width; ++x) {
      std::memcpy(target + x * channels, values + (x / 2) * channels,
                  sizeof(float) * static_cast<std::size_t>(channels));
    }
    finish(target, args.residual == nullptr ? nullptr : static_cast<const float*>(args.residual) + at, row_size,
           args.relu != 0);
  }
}

}  // namespace

void arrange_weights(const float* weight, int out_channels, int in_channels, int kernel, float* arranged) {
  const int taps = kernel * kernel;
  for (int out = 0; out < out_channels; ++out) {
    for (int in = 0; in < in_channels; ++in) {
      for (int tap = 0; tap < taps; ++tap) arranged[(tap * in_channels + in) * out_channels + out] = *weight++;
    }
  }
}

std::size_t scratch_floats(const ConvBlockArgs& args) {
  const std::size_t low = args.merge.mode == Merge::kNone ? 0
                                                          : row_floats(args.width, args.in_channels) +
                                                                row_floats(args.width, args.merge.low_channels);
  return Ring::floats(args.width, args.in_channels) + row_floats(args.width, args.out_channels) + low;
}

std::size_t scratch_floats(const ResidualBlockArgs& args) {
  return Ring::floats(args.width, args.in_channels) + Ring::floats(args.width, args.channels);
}

void run(const ConvBlockArgs& args, float* scratch) {
  const int border = args.kernel / 2;
  const int height = (args.height + args.stride - 1) / args.stride,
            width = (args.width + args.stride - 1) / args.stride;
  Ring ring(scratch, args.width, args.in_channels);
  float* const results = scratch + Ring::floats(args.width, args.in_channels);
  float* const raised = results + row_floats(args.width, args.out_channels);
  const std::ptrdiff_t row_size = static_cast<std::ptrdiff_t>(width) * args.out_channels;
  int loaded = 0;
  for (int y = 0; y < height; ++y) {
    for (; loaded < args.height && loaded <= y * args.stride + border; ++loaded) {
      load_row(args.load, args.input, loaded, args.width, args.in_channels, ring.at(loaded));
      if (args.merge.mode == Merge::kAdd) merge_row(args, loaded, ring.at(loaded), raised);
    }
    const float* rows[3];
    ring.around(y * args.stride, args.height, args.kernel, rows);
    convolve_rows(rows, args.kernel, args.stride, width, args.in_channels, args.out_channels,
                  static_cast<const float*>(args.weight), args.bias, results);
    if (args.upsample == 2) {
      write_doubled(args, y, results);
      continue;
    }
    const float* const added = args.residual == nullptr ? nullptr : map_row(args.residual, y, width, args.out_channels);
    finish(results, added, row_size, args.relu != 0);
    if (args.head.outputs != 0) {
      write_logits(args, y, width, results);
    } else {
      std::memcpy(static_cast<float*>(args.output) + y * row_size, results,
                  sizeof(float) * static_cast<std::size_t>(row_size));
    }
  }
}

void run(const ResidualBlockArgs& args, float* scratch) {
  const std::ptrdiff_t row_size = static_cast<std::ptrdiff_t>(args.width) * args.channels;
  Ring given(scratch, args.width, args.in_channels);
  Ring between(scratch + Ring::floats(args.width, args.in_channels), args.width, args.channels);
  int loaded = 0, made = 0;
  for (int y = 0; y < args.height; ++y) {
    const float* rows[3];
    for (; made < args.height && made <= y + 1; ++made) {
      for (; loaded < args.height && loaded <= made + 1; ++loaded) {
        load_row(args.load, args.input, loaded, args.width, args.in_channels, given.at(loaded));
      }
      given.around(made, args.height, 3, rows);
      convolve_rows(rows, 3, 1, args.width, args.in_channels, args.channels, static_cast<const float*>(args.weight1),
                    args.bias1, between.at(made));
      finish(between.at(made), nullptr, row_size, true);
    }
    between.around(y, args.height, 3, rows);
    float* const target = static_cast<float*>(args.output) + y * row_size;
    convolve_rows(rows, 3, 1, args.width, args.channels, args.channels, static_cast<const float*>(args.weight2),
                  args.bias2, target);
    finish(target, args.shortcut ? map_row(args.input, y, args.width, args.channels) : nullptr, row_size, true);
  }
}

}  // namespace convolution_cpu
}  // namespace pitviper
