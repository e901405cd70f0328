// SPDX-License-Identifier: Apache-2.0
// The device side of phases.h; only .cu files include it.
#pragma once
#include <cuda_runtime.h>

#include <mutex>

#include "phases.h"

namespace pitviper {

namespace phases {

template <typename K, int P, int End>
__device__ __forceinline__ void device_range(const typename K::Args& args, Index block, typename K::State& state,
                                             typename K::Shared& shared) {
  if constexpr (P < End) {
    K::template phase<P>(args, block, static_cast<int>(threadIdx.x), state, shared);
    if constexpr (P + 1 < K::kPhases) __syncthreads();
    device_range<K, P + 1, End>(args, block, state, shared);
  }
}

template <typename K>
__global__ void __launch_bounds__(K::kThreads) kernel(const __grid_constant__ typename K::Args args) {
  extern __shared__ __align__(16) unsigned char memory[];
  auto& shared = *reinterpret_cast<typename K::Shared*>(memory);
  const Index block{static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
  typename K::State state;
  device_range<K, 0, K::kLoopBegin>(args, block, state, shared);
  if constexpr (K::kLoopBegin < K::kLoopEnd) {
    const int turns = K::loop_count(args, block);
    for (int turn = 0; turn < turns; ++turn) {
      device_range<K, K::kLoopBegin, K::kLoopEnd>(args, block, state, shared);
      if constexpr (K::kLoopEnd == K::kPhases) __syncthreads();
    }
  }
  device_range<K, K::kLoopEnd, K::kPhases>(args, block, state, shared);
}

}  // namespace phases

inline Status status_of(cudaError_t error) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // so that the next launch does not answer with this error
  return {Status::kDeviceError, cudaGetErrorString(error)};
}

// Queues the kernel on the stream; answers what can be known at the launch.
template <typename K>
Status launch_phases(const typename K::Args& args, Index grid, cudaStream_t stream) {
  constexpr std::size_t kWithoutAsking = 48 * 1024;
  const std::size_t bytes = SharedSize<K>::of(args);
  // The limit belongs to the kernel and not to the launch: a thread with smaller tiles may not lower it in between.
  static std::mutex limit;
  std::unique_lock<std::mutex> ours(limit, std::defer_lock);
  if (bytes > kWithoutAsking) {
    ours.lock();
    const cudaError_t raised =
        cudaFuncSetAttribute(phases::kernel<K>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    const Status status = status_of(raised);
    if (raised == cudaErrorInvalidValue)
      return {Status::kUnavailable, "a block needs more shared memory than this GPU gives to one"};
    if (!status.ok()) return status;
  }
  cudaGetLastError();  // what an earlier call left behind is not this launch's
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
  phases::kernel<K><<<blocks, K::kThreads, bytes, stream>>>(args);
  return status_of(cudaGetLastError());
}

struct OnStream {
  void* stream;
  template <typename K>
  Status launch(const typename K::Args& args, Index grid) const {
    return launch_phases<K>(args, grid, static_cast<cudaStream_t>(stream));
  }
};

}  // namespace pitviper
