// SPDX-License-Identifier: Apache-2.0
// Pixels of raw frames and of maps, as kernel bodies read them.
#pragma once
#include "numbers.h"

namespace pitviper {

inline std::size_t sample_bytes(char type) { return type == 'B' ? 1 : type == 'f' ? 4 : 2; }
inline bool is_sample(char type) { return type == 'B' || type == 'H' || type == 'e' || type == 'f'; }

template <typename Sample>
PV_HD Sample read(const void* origin, std::ptrdiff_t offset_bytes, int column) {
  return reinterpret_cast<const Sample*>(static_cast<const char*>(origin) + offset_bytes)[column];
}

PV_HD bool finite(float value) { return (numbers::bits_of(value) & 0x7f800000u) != 0x7f800000u; }

using Wide128 = unsigned __int128;

// Exact below 2^53, else within 2^-52 of itself; the compiler's own conversion is a call that costs registers.
PV_HD double to_double(Wide128 value) {
  return static_cast<double>(static_cast<std::uint64_t>(value >> 64)) * 18446744073709551616.0 +
         static_cast<double>(static_cast<std::uint64_t>(value));
}

// Blocks of `size` that cover `count`.
PV_HD int blocks_over(int count, int size) { return (count + size - 1) / size; }

// Read or written at once, up to 16 bytes: a cell of 16 halves in two pieces.
template <typename T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T values[N];
};

// SampleOf<S>::value is exact. Integers are summed as integers, floats as doubles.
template <typename S>
struct SampleOf {
  using Value = std::int32_t;
  static constexpr bool kInteger = true;
  PV_HD static Value value(S sample) { return sample; }
  PV_HD static bool finite(S) { return true; }
};
template <>
struct SampleOf<Float16> {
  using Value = double;
  static constexpr bool kInteger = false;
  PV_HD static Value value(Float16 sample) { return to_float(sample); }
  PV_HD static bool finite(Float16 sample) { return (sample.bits & 0x7c00u) != 0x7c00u; }
};
template <>
struct SampleOf<float> {
  using Value = double;
  static constexpr bool kInteger = false;
  PV_HD static Value value(float sample) { return sample; }
  PV_HD static bool finite(float sample) { return pitviper::finite(sample); }
};

}  // namespace pitviper
