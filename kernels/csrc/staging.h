// SPDX-License-Identifier: Apache-2.0
// Device memory for one call whose caller holds host memory; only .cu files include it.
#pragma once
#include "phases_cuda.h"

namespace pitviper {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  ~DeviceBuffer() { cudaFree(memory_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  Status allocate(std::size_t bytes) { return status_of(cudaMalloc(&memory_, bytes > 0 ? bytes : 1)); }
  Status fill(const void* from, std::size_t bytes) {
    const Status status = allocate(bytes);
    return status.ok() ? status_of(cudaMemcpy(memory_, from, bytes, cudaMemcpyHostToDevice)) : status;
  }
  // Waits for the launches before it.
  Status read(void* to, std::size_t bytes) const {
    return status_of(cudaMemcpy(to, memory_, bytes, cudaMemcpyDeviceToHost));
  }
  void* at() const { return memory_; }

 private:
  void* memory_ = nullptr;
};

// Bytes from the first pixel of the first image to behind the last one of the last.
inline std::size_t span_of(int batch, int height, int width, std::size_t size, std::ptrdiff_t row_bytes,
                           std::ptrdiff_t image_bytes) {
  return static_cast<std::size_t>((batch - 1) * image_bytes + (height - 1) * row_bytes) +
         static_cast<std::size_t>(width) * size;
}

// The first failure of several steps, each of which is run only after success.
template <typename... Steps>
Status in_turn(Steps... steps) {
  Status status;
  (void)((status = steps(), status.ok()) && ...);
  return status;
}

}  // namespace pitviper
