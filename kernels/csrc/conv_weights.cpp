// SPDX-License-Identifier: Apache-2.0
#include "conv_weights.h"

namespace pitviper {

namespace {

// Calls visit(packed index, out, in, tap) for each element of the packed form, padding included.
template <typename Visit>
void each_packed(int out_channels, int in_channels, int kernel, bool wide, const Visit& visit) {
  const int out_tiles = (out_channels + 15) / 16;
  const int in_tiles = (in_channels + 15) / 16;
  std::size_t index = 0;
  for (int tap = 0; tap < kernel * kernel; ++tap) {
    for (int in_tile = 0; in_tile < in_tiles; ++in_tile) {
      for (int out_tile = 0; out_tile < out_tiles; ++out_tile) {
        for (int element = 0; element < 256; ++element, ++index) {
          int out, in;
          if (wide) {
            const int h = element / 128, t = element / 32 % 4, e = element % 2;
            out = 8 * h + 2 * t + e;
            in = element / 2 % 16;
          } else {
            const int lane = element / 8, h = element / 4 % 2, q = element / 2 % 2, e = element % 2;
            out = 8 * h + lane / 4;
            in = 8 * q + 2 * (lane % 4) + e;
          }
          visit(index, 16 * out_tile + out, 16 * in_tile + in, tap);
        }
      }
    }
  }
}

template <typename T>
void pack(const float* weight, int out_channels, int in_channels, int kernel, T* packed) {
  const int taps = kernel * kernel;
  each_packed(out_channels, in_channels, kernel, sizeof(T) == 4, [&](std::size_t index, int out, int in, int tap) {
    const bool present = out < out_channels && in < in_channels;
    const std::size_t at = (static_cast<std::size_t>(out) * in_channels + in) * taps + tap;
    packed[index] = from_float<T>(present ? weight[at] : 0.0f);
  });
}

template <typename T>
void unpack(const T* packed, int out_channels, int in_channels, int kernel, float* weight) {
  const int taps = kernel * kernel;
  each_packed(out_channels, in_channels, kernel, sizeof(T) == 4, [&](std::size_t index, int out, int in, int tap) {
    if (out >= out_channels || in >= in_channels) return;
    weight[(static_cast<std::size_t>(out) * in_channels + in) * taps + tap] = to_float(packed[index]);
  });
}

}  // namespace

std::size_t packed_weight_count(int out_channels, int in_channels, int kernel) {
  const std::size_t tiles = static_cast<std::size_t>((out_channels + 15) / 16) * ((in_channels + 15) / 16);
  return tiles * 256 * kernel * kernel;
}

void pack_weights(const float* weight, int out_channels, int in_channels, int kernel, Dtype dtype, void* packed) {
  with_type(dtype,
            [&](auto zero) { pack(weight, out_channels, in_channels, kernel, static_cast<decltype(zero)*>(packed)); });
}

void unpack_weights(const void* packed, int out_channels, int in_channels, int kernel, Dtype dtype, float* weight) {
  with_type(dtype, [&](auto zero) {
    unpack(static_cast<const decltype(zero)*>(packed), out_channels, in_channels, kernel, weight);
  });
}

}  // namespace pitviper
