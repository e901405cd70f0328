// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include "cuda_support.h"

namespace pitviper {
namespace cuda_support {

namespace {

// Compiled like every kernel, so it has code for a GPU exactly when they do.
__global__ void probe() {}

}  // namespace

std::string missing_reason(int index) {
  int count = 0, before = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count == 0) error = cudaErrorNoDevice;
  if (error == cudaSuccess) error = cudaGetDevice(&before);
  if (error == cudaSuccess) error = cudaSetDevice(index);
  cudaFuncAttributes attributes;
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, probe);
  cudaGetLastError();  // so that the next call does not answer with this error
  if (count > 0) cudaSetDevice(before);
  if (error == cudaSuccess) return "";
  if (error != cudaErrorNoKernelImageForDevice && error != cudaErrorInvalidDeviceFunction)
    return cudaGetErrorString(error);
  cudaDeviceProp device;
  if (cudaGetDeviceProperties(&device, index) != cudaSuccess) return cudaGetErrorString(error);
  return std::string("no code for ") + device.name + " (sm_" + std::to_string(device.major) +
         std::to_string(device.minor) + ")";
}

}  // namespace cuda_support
}  // namespace pitviper
