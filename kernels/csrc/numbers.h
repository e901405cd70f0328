// SPDX-License-Identifier: Apache-2.0
// Values that a kernel stores: float, and two 16-bit types that both compilers know by their bits.
#pragma once
#include <cstdint>
#include <cstring>

#include "phases.h"
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace pitviper {

enum class Dtype : int { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// Calls use(T{}) with the type that dtype names.
#ifdef __CUDACC__
#pragma nv_exec_check_disable
#endif
template <typename Use>
PV_HD auto with_type(Dtype dtype, const Use& use) {
  switch (dtype) {
    case Dtype::kFloat32: return use(float{});
    case Dtype::kFloat16: return use(Float16{});
    default: return use(BFloat16{});
  }
}

PV_HD std::size_t bytes_of(Dtype dtype) { return dtype == Dtype::kFloat32 ? 4 : 2; }

namespace numbers {

PV_HD std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

PV_HD float float_of(std::uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// To the nearest half, ties to even; overflow gives infinity, small values subnormal halves, NaN stays NaN.
PV_HD std::uint16_t half_bits(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65520 rounds to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14: added to 0.5, the value's last bit is worth 2^-24, a subnormal half's last bit.
    const std::uint32_t rounded = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    return static_cast<std::uint16_t>(sign | rounded);
  }
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

// The exponent is moved by 112 through a product, which is right for subnormal halves as well.
PV_HD float half_value(std::uint16_t half) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const bool special = (half & 0x7c00u) == 0x7c00u;
  const std::uint32_t finite = bits_of(float_of(magnitude) * 5.192296858534828e33f);
  return float_of(sign | (special ? magnitude | 0x7f800000u : finite));
}

}  // namespace numbers

PV_HD float to_float(float value) { return value; }
PV_HD float to_float(Float16 value) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(value.bits));
#else
  return numbers::half_value(value.bits);
#endif
}
PV_HD float to_float(BFloat16 value) { return numbers::float_of(static_cast<std::uint32_t>(value.bits) << 16); }

// The nearest value of type T, ties to even.
template <typename T>
PV_HD T from_float(float value);
template <>
PV_HD float from_float<float>(float value) {
  return value;
}
template <>
PV_HD Float16 from_float<Float16>(float value) {
#ifdef __CUDA_ARCH__
  return {__half_as_ushort(__float2half_rn(value))};
#else
  return {numbers::half_bits(value)};
#endif
}
template <>
PV_HD BFloat16 from_float<BFloat16>(float value) {
#ifdef __CUDA_ARCH__
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  const std::uint32_t bits = numbers::bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
#endif
}

}  // namespace pitviper
