// SPDX-License-Identifier: Apache-2.0
// One step of a matrix product on tensor cores, and its scalar meaning.
//
// A warp multiplies MT blocks of 16 pixels x 16 channels (shared memory) by 16 channels x 8 NT outputs (packed weights,
// see conv_weights.h) and adds to acc[mt][nt][4] in the register layout of mma.m16n8k16: with g = lane / 4, t = lane %
// 4 element 2 r + e is pixel g + 8 r, output 8 nt + 2 t + e. On the host, and for float32 on the device, each thread
// computes exactly these elements in float32 arithmetic.
#pragma once
#include "numbers.h"

namespace pitviper {
namespace tensor {

// Where a thread finds its rows of A, as offsets in elements from the start of the tile.
struct Rows {
  int first;
  int second;
};

template <typename T>
PV_HD constexpr bool on_tensor_cores() {
#ifdef __CUDA_ARCH__
  return sizeof(T) == 2;
#else
  return false;
#endif
}

// offset_of(row) is where row (0 to 15) of a block begins.
template <typename T, typename OffsetOf>
PV_HD Rows rows_of(int lane, const OffsetOf& offset_of) {
  if constexpr (on_tensor_cores<T>()) {
    // The lane's row address for ldmatrix: rows 0-15 of channels 0-7, then of channels 8-15.
    return {offset_of(lane & 15) + (lane >> 4) * 8, 0};
  } else {
    return {offset_of(lane >> 2), offset_of((lane >> 2) + 8)};
  }
}

// Four neighbouring channels of one pixel.
template <typename T>
PV_HD void load4(const T* from, float (&to)[4]) {
  struct alignas(4 * sizeof(T)) Four {
    T value[4];
  };
  const Four four = *reinterpret_cast<const Four*>(from);
  for (int i = 0; i < 4; ++i) to[i] = to_float(four.value[i]);
}

// Weights of channels 4 k4 to 4 k4 + 3 for the thread's two outputs of one 16x8 operand: [channel][output].
template <typename T>
PV_HD void load_weights(const T* tile, int h, int k4, int lane, float (&to)[4][2]) {
  const int t = lane & 3;
  for (int k = 0; k < 4; ++k) {
    for (int e = 0; e < 2; ++e) {
      const int in = 4 * k4 + k;
      if constexpr (sizeof(T) == 4) {
        to[k][e] = tile[h * 128 + t * 32 + in * 2 + e];
      } else {
        const int holder = (2 * t + e) * 4 + (in & 7) / 2;
        to[k][e] = to_float(tile[holder * 8 + 4 * h + 2 * (in >> 3) + (in & 1)]);
      }
    }
  }
}

template <typename T, int MT, int NT>
PV_HD void multiply_scalar(float (&acc)[MT][NT][4], const T* tile, const Rows (&rows)[MT], const T* weights, int lane) {
  for (int k4 = 0; k4 < 4; ++k4) {
    float a[MT][2][4];
    PV_UNROLL
    for (int mt = 0; mt < MT; ++mt) {
      load4(tile + rows[mt].first + 4 * k4, a[mt][0]);
      load4(tile + rows[mt].second + 4 * k4, a[mt][1]);
    }
    PV_UNROLL
    for (int nt = 0; nt < NT; ++nt) {
      float b[4][2];
      load_weights(weights + (nt >> 1) * 256, nt & 1, k4, lane, b);
      PV_UNROLL
      for (int mt = 0; mt < MT; ++mt)
        for (int k = 0; k < 4; ++k)
          for (int re = 0; re < 4; ++re) acc[mt][nt][re] += a[mt][re >> 1][k] * b[k][re & 1];
    }
  }
}

#ifdef __CUDACC__
__device__ __forceinline__ void load_matrix(std::uint32_t (&a)[4], const void* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(address)
               : "memory");
}

__device__ __forceinline__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                             std::uint32_t b1, Float16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                             std::uint32_t b1, BFloat16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <typename T, int MT, int NT>
__device__ __forceinline__ void multiply_tensor(float (&acc)[MT][NT][4], const T* tile, const Rows (&rows)[MT],
                                                const T* weights, int lane) {
  std::uint32_t a[MT][4];
  PV_UNROLL
  for (int mt = 0; mt < MT; ++mt) load_matrix(a[mt], tile + rows[mt].first);
  PV_UNROLL
  for (int pair = 0; pair < NT / 2; ++pair) {
    const uint4 b = __ldg(reinterpret_cast<const uint4*>(weights + pair * 256) + lane);
    PV_UNROLL
    for (int mt = 0; mt < MT; ++mt) {
      multiply_add(acc[mt][2 * pair], a[mt], b.x, b.y, T{});
      multiply_add(acc[mt][2 * pair + 1], a[mt], b.z, b.w, T{});
    }
  }
}
#endif

// acc += A B. tile: start of the tile in shared memory, moved to the first of the 16 channels (16-byte aligned);
// weights: the first of NT / 2 packed 16x16 tiles. All 32 lanes of a warp call it together.
template <typename T, int MT, int NT>
PV_HD void multiply(float (&acc)[MT][NT][4], const T* tile, const Rows (&rows)[MT], const T* weights, int lane) {
  static_assert(NT % 2 == 0, "weights are packed by 16 outputs");
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(T) == 2) {
    multiply_tensor(acc, tile, rows, weights, lane);
    return;
  }
#endif
  multiply_scalar(acc, tile, rows, weights, lane);
}

}  // namespace tensor
}  // namespace pitviper
