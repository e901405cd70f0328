// SPDX-License-Identifier: Apache-2.0
// The body of conv_block. A block computes 4 MT x 16 output pixels of 8 NT channels, a warp MT rows of 16 pixels.
#pragma once
#include "conv_tile.h"
#include "tensor_step.h"

namespace pitviper {

template <typename T, int NT, int MT>
struct ConvKernel : PhaseDefaults {
  using Args = ConvBlockArgs;
  static constexpr int kThreads = tile::kThreads;
  static constexpr int kOutputs = 8 * NT;
  static constexpr int kRows = tile::kWarps * MT;
  static constexpr int kStagePitch =
      kOutputs + 8;  // float32; eight more keeps pairs of a quarter warp in separate banks
  static constexpr int kPhases = 6;
  static constexpr int kLoopBegin = 0;  // once for each kChunk input channels
  static constexpr int kLoopEnd = 4;

  struct Shared {
    alignas(16) unsigned char bytes[16];
  };
  struct State {
    float sum[MT][NT][4] = {};
    int turn = 0;
  };

  PV_HD static int padded_inputs(const Args& a) { return a.load == Load::kMap ? a.in_channels : 16; }
  PV_HD static int chunk(const Args& a, int turn) {
    return tile::least(tile::kChunk, padded_inputs(a) - turn * tile::kChunk);
  }
  PV_HD static int out_height(const Args& a) { return (a.height + a.stride - 1) / a.stride; }
  PV_HD static int out_width(const Args& a) { return (a.width + a.stride - 1) / a.stride; }
  PV_HD static int tiles_across(const Args& a) { return (out_width(a) + tile::kColumns - 1) / tile::kColumns; }
  PV_HD static int parts(const Args& a) { return a.merge.mode == Merge::kAffine ? 2 : 1; }
  PV_HD static int loop_count(const Args& a, Index) { return (padded_inputs(a) + tile::kChunk - 1) / tile::kChunk; }

  static Index grid(const Args& a) {
    const int tiles_down = (out_height(a) + kRows - 1) / kRows;
    return {tiles_across(a) * tiles_down, a.out_channels / kOutputs, a.batch};
  }

  PV_HD static int top(const Args& a, Index block) { return block.x / tiles_across(a) * kRows; }
  PV_HD static int left(const Args& a, Index block) { return block.x % tiles_across(a) * tile::kColumns; }

  // What the block reads of the convolution's input.
  PV_HD static tile::Rectangle input_area(const Args& a, Index block) {
    const int pad = a.kernel / 2;
    return {top(a, block) * a.stride - pad, left(a, block) * a.stride - pad, (kRows - 1) * a.stride + a.kernel,
            (tile::kColumns - 1) * a.stride + a.kernel};
  }

  // What that needs of merge.low; shifts round down, also left of the picture.
  PV_HD static tile::Rectangle low_area(const Args& a, const tile::Rectangle& area) {
    const int shift = a.merge.scale - 1;
    const int y = area.top >> shift, x = area.left >> shift;
    return {y, x, ((area.top + area.rows - 1) >> shift) - y + 1, ((area.left + area.columns - 1) >> shift) - x + 1};
  }

  // Shared memory: the input tile, or the tile of merge.low before it, or the staged result after it; then the 1x1 of
  // low.
  PV_HD static int first_bytes(const Args& a) {
    const tile::Rectangle area = input_area(a, {});
    int bytes = area.rows * area.columns * tile::pitch<T>(chunk(a, 0)) * static_cast<int>(sizeof(T));
    const int stage = kRows * tile::kColumns * kStagePitch * 4;
    bytes = stage > bytes ? stage : bytes;
    if (a.merge.mode == Merge::kNone) return bytes;
    const tile::Rectangle low = low_area(a, area);
    const int tiles = low.rows * low.columns * tile::pitch<T>(a.merge.low_channels) * static_cast<int>(sizeof(T));
    return tiles > bytes ? tiles : bytes;
  }
  static std::size_t shared_bytes(const Args& a) {
    if (a.merge.mode == Merge::kNone) return static_cast<std::size_t>(first_bytes(a));
    const tile::Rectangle low = low_area(a, input_area(a, {}));
    return static_cast<std::size_t>(first_bytes(a) + parts(a) * low.rows * low.columns * joint_pitch(a) * 4);
  }
  PV_HD static int joint_pitch(const Args& a) { return chunk(a, 0) + 8; }
  PV_HD static T* tile_of(Shared& shared) { return reinterpret_cast<T*>(shared.bytes); }
  PV_HD static float* stage_of(Shared& shared) { return reinterpret_cast<float*>(shared.bytes); }
  PV_HD static float* joint_of(const Args& a, Shared& shared) {
    return reinterpret_cast<float*>(shared.bytes + first_bytes(a));
  }

  template <int P>
  PV_HD static void phase(const Args& a, Index block, int thread, State& state, Shared& shared) {
    if constexpr (P == 0) load_low(a, block, thread, shared);
    if constexpr (P == 1) convolve_low(a, block, thread, state, shared);
    if constexpr (P == 2) load_tile(a, block, thread, state, shared);
    if constexpr (P == 3) accumulate(a, block, thread, state, shared);
    if constexpr (P == 4) stage(a, block, thread, state, shared);
    if constexpr (P == 5) {
      if (a.head.outputs > 0) {
        write_logits(a, block, thread, shared);
      } else {
        write_map(a, block, thread, shared);
      }
    }
  }

  PV_HD static void load_low(const Args& a, Index block, int thread, Shared& shared) {
    const Merge& m = a.merge;
    if (m.mode == Merge::kNone) return;
    const int height = a.height / m.scale, width = a.width / m.scale;
    const T* const map =
        static_cast<const T*>(m.low) + static_cast<std::ptrdiff_t>(block.z) * height * width * m.low_channels;
    tile::load_map(tile_of(shared), map, low_area(a, input_area(a, block)), height, width, m.low_channels, 0,
                   m.low_channels, tile::pitch<T>(m.low_channels), thread);
  }

  // The 1x1 convolution of low for this turn's channels, kept in float32.
  PV_HD static void convolve_low(const Args& a, Index block, int thread, const State& state, Shared& shared) {
    const Merge& m = a.merge;
    if (m.mode == Merge::kNone) return;
    const tile::Rectangle low = low_area(a, input_area(a, block));
    const int pixels = low.rows * low.columns, from = tile::pitch<T>(m.low_channels), to = joint_pitch(a);
    const int lane = thread & 31, first = state.turn * tile::kChunk, count = chunk(a, state.turn) / 16;
    const int weight_tiles = parts(a) * a.in_channels / 16;
    PV_NO_UNROLL
    for (int group = thread >> 5; group * 16 < pixels; group += tile::kWarps) {
      const tensor::Rows rows[1] = {
          tensor::rows_of<T>(lane, [&](int row) { return tile::least(group * 16 + row, pixels - 1) * from; })};
      PV_NO_UNROLL
      for (int n = 0; n < parts(a) * count; ++n) {
        const int part = n / count, channel = part * a.in_channels + first + (n - part * count) * 16;
        float sum[1][2][4] = {};
        PV_UNROLL_TWICE
        for (int k = 0; k < m.low_channels / 16; ++k) {
          const T* const weights = static_cast<const T*>(m.weight) + (k * weight_tiles + channel / 16) * 256;
          tensor::multiply(sum, tile_of(shared) + 16 * k, rows, weights, lane);
        }
        float* const joint = joint_of(a, shared) + part * pixels * to + (n - part * count) * 16;
        for (int i = 0; i < 8; ++i) {
          const int pixel = group * 16 + (lane >> 2) + 8 * ((i >> 1) & 1);
          const int column = 8 * (i >> 2) + 2 * (lane & 3) + (i & 1);
          if (pixel < pixels) joint[pixel * to + column] = sum[0][i >> 2][i & 3] + m.bias[channel + column];
        }
      }
    }
  }

  PV_HD static void load_tile(const Args& a, Index block, int thread, const State& state, Shared& shared) {
    const tile::Rectangle area = input_area(a, block);
    const int first = state.turn * tile::kChunk, channels = chunk(a, state.turn);
    const int pixel_pitch = tile::pitch<T>(chunk(a, 0));
    if (a.merge.mode == Merge::kNone) {
      tile::load_input(tile_of(shared), a.input, a.load, a.frame_dtype, block.z, area, a.height, a.width,
                       padded_inputs(a), first, channels, pixel_pitch, thread);
    } else {
      merge_tile(a, block, area, first, channels, pixel_pitch, thread, shared);
    }
  }

  PV_HD static void merge_tile(const Args& a, Index block, const tile::Rectangle& area, int first, int channels,
                               int pixel_pitch, int thread, Shared& shared) {
    constexpr int kCount = tile::Vector<T>::kCount;
    const tile::Rectangle low = low_area(a, area);
    const T* const skip = static_cast<const T*>(a.input) +
                          static_cast<std::ptrdiff_t>(block.z) * a.height * a.width * a.in_channels + first;
    const float* const joint = joint_of(a, shared);
    const int shift = a.merge.scale - 1, joint_part = low.rows * low.columns * joint_pitch(a);
    const auto join = [&](int pixel, int y, int x, int channel, bool inside) {
      tile::Vector<T> vector;
      const float* const u =
          joint + (((y >> shift) - low.top) * low.columns + (x >> shift) - low.left) * joint_pitch(a) + channel;
      if (inside) {
        const std::ptrdiff_t at = (static_cast<std::ptrdiff_t>(y) * a.width + x) * a.in_channels + channel;
        vector = *reinterpret_cast<const tile::Vector<T>*>(skip + at);
      }
      PV_UNROLL
      for (int i = 0; i < kCount; ++i) {
        float value = 0.0f;
        if (inside) {
          const float s = to_float(vector.value[i]), k = a.merge.strength;
          value = parts(a) == 1 ? s + u[i] : (1.0f + k * (u[i] - 1.0f)) * s + k * u[joint_part + i];
          if (a.merge.relu) value = tile::rectify(value);
        }
        vector.value[i] = from_float<T>(value);
      }
      *reinterpret_cast<tile::Vector<T>*>(tile_of(shared) + pixel * pixel_pitch + channel) = vector;
    };
    tile::each_vector<T>(area, a.height, a.width, channels, thread, join);
  }

  PV_HD static void accumulate(const Args& a, Index block, int thread, State& state, Shared& shared) {
    const tile::Rectangle area = input_area(a, block);
    const int lane = thread & 31, warp = thread >> 5, pixel_pitch = tile::pitch<T>(chunk(a, 0));
    tensor::Rows rows[MT];
    PV_UNROLL
    for (int mt = 0; mt < MT; ++mt) {
      const int line = (warp * MT + mt) * a.stride * area.columns;
      rows[mt] = tensor::rows_of<T>(lane, [&](int row) { return (line + row * a.stride) * pixel_pitch; });
    }
    const int steps = chunk(a, state.turn) / 16, in_tiles = padded_inputs(a) / 16;
    const T* const weights = static_cast<const T*>(a.weight) + block.y * (kOutputs / 16) * 256;
    const std::ptrdiff_t step_size = static_cast<std::ptrdiff_t>(a.out_channels) * 16;
    PV_NO_UNROLL
    for (int dy = 0; dy < a.kernel; ++dy) {
      PV_NO_UNROLL
      for (int dx = 0; dx < a.kernel; ++dx) {
        const T* const moved = tile_of(shared) + (dy * area.columns + dx) * pixel_pitch;
        const int step = (dy * a.kernel + dx) * in_tiles + state.turn * (tile::kChunk / 16);
        PV_UNROLL_TWICE
        for (int k = 0; k < steps; ++k)
          tensor::multiply(state.sum, moved + 16 * k, rows, weights + (step + k) * step_size, lane);
      }
    }
    ++state.turn;
  }

  // The sums leave the registers' layout through shared memory, so that whole rows of bytes go to memory.
  PV_HD static void stage(const Args& a, Index block, int thread, const State& state, Shared& shared) {
    const int lane = thread & 31, warp = thread >> 5;
    const float* const bias = a.bias + block.y * kOutputs;
    PV_UNROLL
    for (int nt = 0; nt < NT; ++nt) {
      const int column = 8 * nt + 2 * (lane & 3);
      const float bias0 = bias[column], bias1 = bias[column + 1];
      PV_UNROLL
      for (int i = 0; i < 2 * MT; ++i) {
        const int mt = i >> 1, pixel = (warp * MT + mt) * tile::kColumns + (lane >> 2) + 8 * (i & 1);
        float* const to = stage_of(shared) + pixel * kStagePitch + column;
        to[0] = state.sum[mt][nt][2 * (i & 1)] + bias0;
        to[1] = state.sum[mt][nt][2 * (i & 1) + 1] + bias1;
      }
    }
  }

  PV_HD static void write_map(const Args& a, Index block, int thread, Shared& shared) {
    constexpr int kCount = tile::Vector<T>::kCount, kVectors = kOutputs / kCount;
    const int up = a.upsample, height = up * out_height(a), width = up * out_width(a);
    const int columns = up * tile::kColumns, down = up - 1;
    const std::ptrdiff_t image = static_cast<std::ptrdiff_t>(block.z) * height * width * a.out_channels;
    PV_UNROLL_TWICE
    for (int i = thread; i < up * kRows * columns * kVectors; i += kThreads) {
      const int pixel = i / kVectors, channel = (i - pixel * kVectors) * kCount;
      const int row = pixel >> (4 + down), column = pixel & (columns - 1);
      const int y = up * top(a, block) + row, x = up * left(a, block) + column;
      if (y >= height || x >= width) continue;
      const std::ptrdiff_t at =
          image + (static_cast<std::ptrdiff_t>(y) * width + x) * a.out_channels + block.y * kOutputs + channel;
      const float* const value =
          stage_of(shared) + ((row >> down) * tile::kColumns + (column >> down)) * kStagePitch + channel;
      tile::Vector<T> vector;
      if (a.residual != nullptr)
        vector = *reinterpret_cast<const tile::Vector<T>*>(static_cast<const T*>(a.residual) + at);
      PV_UNROLL
      for (int e = 0; e < kCount; ++e) {
        float sum = value[e];
        if (a.residual != nullptr) sum += to_float(vector.value[e]);
        vector.value[e] = from_float<T>(a.relu ? tile::rectify(sum) : sum);
      }
      *reinterpret_cast<tile::Vector<T>*>(static_cast<T*>(a.output) + at) = vector;
    }
  }

  // One thread a pixel: its logit, or the four of its 2x2 block.
  PV_HD static void write_logits(const Args& a, Index block, int thread, Shared& shared) {
    const Head& h = a.head;
    const int y = top(a, block) + thread / tile::kColumns, x = left(a, block) + thread % tile::kColumns;
    const int height = out_height(a), width = out_width(a);
    if (thread >= kRows * tile::kColumns || y >= height || x >= width) return;
    float logit[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    const float* const value = stage_of(shared) + thread * kStagePitch;
    PV_UNROLL_TWICE
    for (int c = 0; c < kOutputs; ++c) {
      const float v = a.relu ? tile::rectify(value[c]) : value[c];
      PV_UNROLL
      for (int o = 0; o < 4; ++o)
        if (o < h.outputs) logit[o] += v * h.weight[o * kOutputs + c];
    }
    const int side = h.outputs == 4 ? 2 : 1;
    if (h.coarse != nullptr) add_coarse(h, block, side, height, width, y, x, logit);
    PV_UNROLL
    for (int o = 0; o < 4; ++o) {
      if (o >= h.outputs) continue;
      const std::ptrdiff_t line = (static_cast<std::ptrdiff_t>(block.z) * height + y) * side + (o >> 1);
      h.logits[line * (side * width) + side * x + (o & 1)] = logit[o] + h.bias[o];
    }
  }

  // Packed (side 2): the four outputs at the pixel itself; else the one that is this pixel's in the 2x2 block.
  PV_HD static void add_coarse(const Head& h, Index block, int side, int height, int width, int y, int x,
                               float (&logit)[4]) {
    const int down = 2 - side;
    const std::ptrdiff_t line = static_cast<std::ptrdiff_t>(block.z) * (height >> down) + (y >> down);
    const T* const pixel = static_cast<const T*>(h.coarse) + (line * (width >> down) + (x >> down)) * h.coarse_channels;
    const int own = side == 2 ? 0 : 2 * (y & 1) + (x & 1);
    PV_UNROLL_TWICE
    for (int c = 0; c < h.coarse_channels; ++c) {
      const float v = to_float(pixel[c]);
      PV_UNROLL
      for (int o = 0; o < 4; ++o)
        if (o < h.outputs) logit[o] += v * h.coarse_weight[(own + o) * h.coarse_channels + c];
    }
  }
};

namespace conv_block {

// `run.template launch<K>(args, grid)` queues one launch and answers a Status.
template <typename Wide, typename Thin, typename Run>
Status launch_rows(const ConvBlockArgs& a, const Run& run) {
  // Rows of eight pixels reuse weights and halo better; four rows make more blocks of a small map.
  const bool small = Wide::grid(a).x * a.batch < 64;
  if (small || a.stride == 2) return run.template launch<Thin>(a, Thin::grid(a));
  return run.template launch<Wide>(a, Wide::grid(a));
}

template <typename T, typename Run>
Status launch_channels(const ConvBlockArgs& a, const Run& run) {
  if (a.out_channels % 64 == 0) return launch_rows<ConvKernel<T, 8, 2>, ConvKernel<T, 8, 1>>(a, run);
  if (a.out_channels % 48 == 0) return launch_rows<ConvKernel<T, 6, 2>, ConvKernel<T, 6, 1>>(a, run);
  if (a.out_channels % 32 == 0) return launch_rows<ConvKernel<T, 4, 2>, ConvKernel<T, 4, 1>>(a, run);
  return launch_rows<ConvKernel<T, 2, 2>, ConvKernel<T, 2, 1>>(a, run);
}

template <typename Run>
Status launch_all(const ConvBlockArgs& a, const Run& run) {
  const Status checked = check(a);
  if (!checked.ok() || a.batch == 0) return checked;
  return with_type(a.dtype, [&](auto zero) { return launch_channels<decltype(zero)>(a, run); });
}

}  // namespace conv_block
}  // namespace pitviper
