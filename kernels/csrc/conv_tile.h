// SPDX-License-Identifier: Apache-2.0
// How the convolution kernels bring a rectangle of a map into shared memory, zero outside the picture.
#pragma once
#include "conv_block.h"

namespace pitviper {
namespace tile {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kColumns = 16;  // output pixels of a block in a row: one block of rows of the matrix product
constexpr int kChunk = 64;    // input channels that are in shared memory at a time
constexpr int kMostChannels = 128;

// 16 bytes, the unit of every copy.
template <typename T>
struct alignas(16) Vector {
  static constexpr int kCount = 16 / sizeof(T);
  T value[kCount];
};

// Elements from one pixel to the next: an odd number of 16-byte units, so that eight pixels' rows of a matrix load lie
// in different banks.
template <typename T>
PV_HD int pitch(int channels) {
  return channels + Vector<T>::kCount;
}

PV_HD int least(int a, int b) { return a < b ? a : b; }

PV_HD float rectify(float value) { return value < 0.0f ? 0.0f : value; }

// A rectangle of a map; its origin may lie outside the picture.
struct Rectangle {
  int top;
  int left;
  int rows;
  int columns;
};

// Starts a copy of 16 bytes to shared memory, of zeros where there is nothing to read.
template <typename T>
PV_HD void copy(T* to, const T* from, bool present) {
#ifdef __CUDA_ARCH__
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(present ? 16 : 0)
               : "memory");
#else
  if (present) {
    std::memcpy(to, from, 16);
  } else {
    std::memset(to, 0, 16);
  }
#endif
}

// The calling thread's copies have arrived; others see them after the next barrier.
PV_HD void await_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Calls visit(pixel of the rectangle, y, x, first channel, inside) for each 16 bytes of the rectangle that fall to the
// thread: a warp takes a row, neighbouring lanes neighbouring bytes.
template <typename T, typename Visit>
PV_HD void each_vector(const Rectangle& area, int height, int width, int channels, int thread, const Visit& visit) {
  const int vectors = channels / Vector<T>::kCount;
  PV_NO_UNROLL
  for (int row = thread >> 5; row < area.rows; row += kWarps) {
    const int y = area.top + row;
    const bool row_inside = y >= 0 && y < height;
    PV_UNROLL_TWICE
    for (int i = thread & 31; i < area.columns * vectors; i += 32) {
      const int column = static_cast<int>(static_cast<unsigned>(i) / static_cast<unsigned>(vectors));
      const int x = area.left + column;
      visit(row * area.columns + column, y, x, (i - column * vectors) * Vector<T>::kCount,
            row_inside && x >= 0 && x < width);
    }
  }
}

// Channels [first, first + channels) of a map [H, W, all_channels] to to[pixel][pitch].
template <typename T>
PV_HD void load_map(T* to, const T* map, const Rectangle& area, int height, int width, int all_channels, int first,
                    int channels, int pixel_pitch, int thread) {
  each_vector<T>(area, height, width, channels, thread, [&](int pixel, int y, int x, int channel, bool inside) {
    const std::ptrdiff_t at = (static_cast<std::ptrdiff_t>(y) * width + x) * all_channels + first + channel;
    copy(to + pixel * pixel_pitch + channel, map + (inside ? at : 0), inside);
  });
  await_copies();
}

// A frame as a map of 16 channels, those beyond its one or four being zero. side: 1, or 2 for space-to-depth.
template <typename T, typename Sample>
PV_HD void load_frame(T* to, const Sample* frame, const Rectangle& area, int height, int width, int side,
                      int pixel_pitch, int thread) {
  PV_UNROLL_TWICE
  for (int pixel = thread; pixel < area.rows * area.columns; pixel += kThreads) {
    const int row = pixel / area.columns;
    const int y = area.top + row, x = area.left + pixel - row * area.columns;
    const bool inside = y >= 0 && y < height && x >= 0 && x < width;
    float value[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (inside) {
      PV_UNROLL
      for (int phase = 0; phase < 4; ++phase) {
        if (phase < side * side) {
          const std::ptrdiff_t line = static_cast<std::ptrdiff_t>(side * y + (phase >> 1)) * (side * width);
          value[phase] = to_float(frame[line + side * x + (phase & 1)]);
        }
      }
    }
    auto* const vectors = reinterpret_cast<Vector<T>*>(to + pixel * pixel_pitch);
    PV_UNROLL
    for (int v = 0; v < 16 / Vector<T>::kCount; ++v) {
      Vector<T> vector;
      PV_UNROLL
      for (int i = 0; i < Vector<T>::kCount; ++i)
        vector.value[i] = from_float<T>(v == 0 && i < 4 ? value[i & 3] : 0.0f);
      vectors[v] = vector;
    }
  }
}

// load_map or load_frame of one image of the batch; height and width are those of the map.
template <typename T>
PV_HD void load_input(T* to, const void* input, Load load, Dtype frame_dtype, int image, const Rectangle& area,
                      int height, int width, int all_channels, int first, int channels, int pixel_pitch, int thread) {
  const std::ptrdiff_t pixels = static_cast<std::ptrdiff_t>(height) * width;
  if (load == Load::kMap) {
    const T* const map = static_cast<const T*>(input) + image * pixels * all_channels;
    load_map(to, map, area, height, width, all_channels, first, channels, pixel_pitch, thread);
    return;
  }
  const int side = load == Load::kFrameToDepth ? 2 : 1;
  const std::ptrdiff_t at = image * pixels * side * side;
  if (frame_dtype == Dtype::kFloat32) {
    load_frame(to, static_cast<const float*>(input) + at, area, height, width, side, pixel_pitch, thread);
  } else {
    load_frame(to, static_cast<const T*>(input) + at, area, height, width, side, pixel_pitch, thread);
  }
}

}  // namespace tile
}  // namespace pitviper
