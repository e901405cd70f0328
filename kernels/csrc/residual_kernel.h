// SPDX-License-Identifier: Apache-2.0
// The body of residual_block. A block computes 8 x 16 output pixels of all channels, 8 NT at a time. It reads two
// pixels more on each side and computes the map between on one pixel more: 10 x 18 pixels, which only ever are in
// shared memory.
#pragma once
#include "conv_tile.h"
#include "residual_block.h"
#include "tensor_step.h"

namespace pitviper {

template <typename T, int NT>
struct ResidualKernel : PhaseDefaults {
  using Args = ResidualBlockArgs;
  static constexpr int kThreads = tile::kThreads;
  static constexpr int kPhases = 4;
  static constexpr int kOutputs = 8 * NT;
  static constexpr int kRowTiles = 2;  // rows of 16 output pixels of a warp
  static constexpr int kRows = tile::kWarps * kRowTiles;
  static constexpr int kInColumns = tile::kColumns + 4, kInPixels = (kRows + 4) * kInColumns;
  static constexpr int kMidColumns = tile::kColumns + 2, kMidPixels = (kRows + 2) * kMidColumns;
  static constexpr int kMidTiles = (kMidPixels + 16 * tile::kWarps - 1) / (16 * tile::kWarps);

  struct Shared {
    alignas(16) unsigned char bytes[16];
  };
  struct State {};

  PV_HD static int padded_inputs(const Args& a) { return a.load == Load::kMap ? a.in_channels : 16; }
  PV_HD static int tiles_across(const Args& a) { return (a.width + tile::kColumns - 1) / tile::kColumns; }
  PV_HD static int top(const Args& a, Index block) { return block.x / tiles_across(a) * kRows; }
  PV_HD static int left(const Args& a, Index block) { return block.x % tiles_across(a) * tile::kColumns; }
  // The input's pixels; the result takes the place of the pixels that it covers, whose shortcut has been read by then.
  PV_HD static int first_elements(const Args& a) {
    const int channels = a.channels > padded_inputs(a) ? a.channels : padded_inputs(a);
    return kInPixels * tile::pitch<T>(channels);
  }
  PV_HD static T* input_of(Shared& shared) { return reinterpret_cast<T*>(shared.bytes); }
  PV_HD static T* middle_of(const Args& a, Shared& shared) { return input_of(shared) + first_elements(a); }

  static Index grid(const Args& a) { return {tiles_across(a) * ((a.height + kRows - 1) / kRows), 1, a.batch}; }
  static std::size_t shared_bytes(const Args& a) {
    return static_cast<std::size_t>(first_elements(a) + kMidPixels * tile::pitch<T>(a.channels)) * sizeof(T);
  }

  template <int P>
  PV_HD static void phase(const Args& a, Index block, int thread, State&, Shared& shared) {
    if constexpr (P == 0) load(a, block, thread, shared);
    if constexpr (P == 1) first_convolution(a, block, thread, shared);
    if constexpr (P == 2) second_convolution(a, block, thread, shared);
    if constexpr (P == 3) write(a, block, thread, shared);
  }

  PV_HD static void load(const Args& a, Index block, int thread, Shared& shared) {
    const tile::Rectangle area{top(a, block) - 2, left(a, block) - 2, kRows + 4, kInColumns};
    const int channels = padded_inputs(a);
    tile::load_input(input_of(shared), a.input, a.load, a.frame_dtype, block.z, area, a.height, a.width, channels, 0,
                     channels, tile::pitch<T>(channels), thread);
  }

  // Adds the nine taps of kOutputs channels, the first of them first_output.
  template <int MT>
  PV_HD static void convolve(float (&sum)[MT][NT][4], const T* from, const tensor::Rows (&rows)[MT], int columns,
                             int channels, const void* packed, int all_outputs, int first_output, int lane) {
    const T* weights = static_cast<const T*>(packed) + first_output / 16 * 256;
    PV_NO_UNROLL
    for (int tap = 0; tap < 9; ++tap) {
      const T* const moved = from + (tap / 3 * columns + tap % 3) * tile::pitch<T>(channels);
      PV_UNROLL_TWICE
      for (int k = 0; k < channels / 16; ++k, weights += static_cast<std::ptrdiff_t>(all_outputs) * 16)
        tensor::multiply(sum, moved + 16 * k, rows, weights, lane);
    }
  }

  PV_HD static void first_convolution(const Args& a, Index block, int thread, Shared& shared) {
    const int lane = thread & 31, warp = thread >> 5, channels = padded_inputs(a);
    tensor::Rows rows[kMidTiles];
    PV_UNROLL
    for (int mt = 0; mt < kMidTiles; ++mt) {
      rows[mt] = tensor::rows_of<T>(lane, [&](int row) {
        const int pixel = tile::least((warp * kMidTiles + mt) * 16 + row, kMidPixels - 1);
        return (pixel / kMidColumns * kInColumns + pixel % kMidColumns) * tile::pitch<T>(channels);
      });
    }
    for (int first = 0; first < a.channels; first += kOutputs) {
      float sum[kMidTiles][NT][4] = {};
      convolve(sum, input_of(shared), rows, kInColumns, channels, a.weight1, a.channels, first, lane);
      PV_UNROLL
      for (int i = 0; i < 2 * kMidTiles; ++i) {
        const int pixel = (warp * kMidTiles + (i >> 1)) * 16 + (lane >> 2) + 8 * (i & 1);
        if (pixel >= kMidPixels) continue;
        const int y = top(a, block) - 1 + pixel / kMidColumns, x = left(a, block) - 1 + pixel % kMidColumns;
        const bool inside = y >= 0 && y < a.height && x >= 0 && x < a.width;
        T* const to = middle_of(a, shared) + pixel * tile::pitch<T>(a.channels) + first;
        PV_UNROLL
        for (int nt = 0; nt < NT; ++nt) {
          const int column = 8 * nt + 2 * (lane & 3);
          const float* const value = &sum[i >> 1][nt][2 * (i & 1)];
          store2(to + column, value, a.bias1 + first + column, inside);
        }
      }
    }
  }

  // Two neighbouring channels of the map between; outside the picture they are the second convolution's padding.
  PV_HD static void store2(T* to, const float* value, const float* bias, bool inside) {
    struct alignas(2 * sizeof(T)) Two {
      T value[2];
    };
    Two two;
    for (int e = 0; e < 2; ++e) two.value[e] = from_float<T>(inside ? tile::rectify(value[e] + bias[e]) : 0.0f);
    *reinterpret_cast<Two*>(to) = two;
  }

  PV_HD static void second_convolution(const Args& a, Index, int thread, Shared& shared) {
    const int lane = thread & 31, warp = thread >> 5, pitch = tile::pitch<T>(a.channels);
    tensor::Rows rows[kRowTiles];
    PV_UNROLL
    for (int mt = 0; mt < kRowTiles; ++mt) {
      const int line = (warp * kRowTiles + mt) * kMidColumns;
      rows[mt] = tensor::rows_of<T>(lane, [&](int row) { return (line + row) * pitch; });
    }
    for (int first = 0; first < a.channels; first += kOutputs) {
      float sum[kRowTiles][NT][4] = {};
      convolve(sum, middle_of(a, shared), rows, kMidColumns, a.channels, a.weight2, a.channels, first, lane);
      PV_UNROLL
      for (int i = 0; i < 2 * kRowTiles; ++i) {
        const int row = warp * kRowTiles + (i >> 1), column = (lane >> 2) + 8 * (i & 1);
        T* const place = input_of(shared) + place_of(row, column) * pitch + first;
        PV_UNROLL
        for (int nt = 0; nt < NT; ++nt) {
          const int channel = 8 * nt + 2 * (lane & 3);
          for (int e = 0; e < 2; ++e) {
            float value = sum[i >> 1][nt][2 * (i & 1) + e] + a.bias2[first + channel + e];
            if (a.shortcut) value += to_float(place[channel + e]);
            place[channel + e] = from_float<T>(tile::rectify(value));
          }
        }
      }
    }
  }

  // Where output pixel (row, column) of the block is among the input's pixels.
  PV_HD static int place_of(int row, int column) { return (row + 2) * kInColumns + column + 2; }

  PV_HD static void write(const Args& a, Index block, int thread, Shared& shared) {
    const tile::Rectangle area{top(a, block), left(a, block), kRows, tile::kColumns};
    T* const image = static_cast<T*>(a.output) + static_cast<std::ptrdiff_t>(block.z) * a.height * a.width * a.channels;
    tile::each_vector<T>(area, a.height, a.width, a.channels, thread,
                         [&](int pixel, int y, int x, int channel, bool inside) {
                           if (!inside) return;
                           const int place = place_of(pixel / tile::kColumns, pixel % tile::kColumns);
                           const T* const from = input_of(shared) + place * tile::pitch<T>(a.channels) + channel;
                           T* const to = image + (static_cast<std::ptrdiff_t>(y) * a.width + x) * a.channels + channel;
                           *reinterpret_cast<tile::Vector<T>*>(to) = *reinterpret_cast<const tile::Vector<T>*>(from);
                         });
  }
};

namespace residual_block {

// `run.template launch<K>(args, grid)` queues one launch and answers a Status.
template <typename K, typename Run>
Status launch_one(const ResidualBlockArgs& a, const Run& run) {
  return run.template launch<K>(a, K::grid(a));
}

template <typename T, typename Run>
Status launch_channels(const ResidualBlockArgs& a, const Run& run) {
  // No form for 48 channels at a time: ptxas spills its registers on sm_87. They are computed 16 at a time.
  if (a.channels % 64 == 0) return launch_one<ResidualKernel<T, 8>>(a, run);
  if (a.channels % 32 == 0) return launch_one<ResidualKernel<T, 4>>(a, run);
  return launch_one<ResidualKernel<T, 2>>(a, run);
}

template <typename Run>
Status launch_all(const ResidualBlockArgs& a, const Run& run) {
  const Status checked = check(a);
  if (!checked.ok() || a.batch == 0) return checked;
  return with_type(a.dtype, [&](auto zero) { return launch_channels<decltype(zero)>(a, run); });
}

}  // namespace residual_block
}  // namespace pitviper
