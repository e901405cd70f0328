// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

// One machine-code version per instruction set, chosen when the module is loaded: a wheel must start on any x86-64.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define PITVIPER_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define PITVIPER_CLONES
#endif
#define PITVIPER_INLINE inline __attribute__((always_inline))

namespace pitviper {

// An image whose columns are adjacent; rows are row_bytes apart (negative when it is flipped).
template <typename Sample>
struct View {
  const Sample* origin;
  std::ptrdiff_t height;
  std::ptrdiff_t width;
  std::ptrdiff_t row_bytes;

  PITVIPER_INLINE const Sample* row(std::ptrdiff_t index) const {
    return reinterpret_cast<const Sample*>(reinterpret_cast<const char*>(origin) + index * row_bytes);
  }
};

struct Half {
  std::uint16_t bits;
};

// An image whose sample type is known only at run time, by its numpy character: B, H, e (Half) or f.
struct Frame {
  const void* origin;
  char type;
  std::ptrdiff_t height;
  std::ptrdiff_t width;
  std::ptrdiff_t row_bytes;

  template <typename Sample>
  View<Sample> as() const {
    return {static_cast<const Sample*>(origin), height, width, row_bytes};
  }
};

PITVIPER_INLINE std::int32_t value_of(std::uint8_t sample) { return sample; }
PITVIPER_INLINE std::int32_t value_of(std::uint16_t sample) { return sample; }
PITVIPER_INLINE double value_of(float sample) { return sample; }

// Exact for every finite half: the exponent is moved by 112, which a product does for subnormal halves as well.
PITVIPER_INLINE double value_of(Half sample) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(sample.bits & 0x7fff) << 13;
  const std::uint32_t sign = static_cast<std::uint32_t>(sample.bits & 0x8000) << 16;
  float shrunk;
  std::memcpy(&shrunk, &magnitude, sizeof(shrunk));
  const float grown = shrunk * 5.192296858534828e33f;
  std::uint32_t bits;
  std::memcpy(&bits, &grown, sizeof(bits));
  bits |= sign;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

PITVIPER_INLINE bool nonfinite(float sample) {
  std::uint32_t bits;
  std::memcpy(&bits, &sample, sizeof(bits));
  return (bits & 0x7f800000u) == 0x7f800000u;
}
PITVIPER_INLINE bool nonfinite(Half sample) { return (sample.bits & 0x7c00u) == 0x7c00u; }

}  // namespace pitviper
