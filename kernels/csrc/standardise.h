// SPDX-License-Identifier: Apache-2.0
// Frames as the sensor gives them to the network's input, in two launches: the statistics, then the values.
// Definition: kernels/standardise/reference.py. Derivation and bounds: kernels/standardise/README.md.
#pragma once
#include "numbers.h"
#include "standardise_host.h"

namespace pitviper {

// What was measured in one frame. A frame whose pixels are all equal has scale 0 and gives zeros; one with NaN or
// infinite values gives NaN everywhere, and nonfinite says how many there are.
struct FrameStatistics {
  double mean;
  double scale;
  std::int64_t nonfinite;
};

struct StandardiseArgs {
  const void* frames = nullptr;    // frame i begins i * frame_bytes behind it
  char type = 'H';                 // numpy character: B uint8, H uint16, e float16, f float32
  int batch = 0;                   // 0 to 65535; 0 does nothing
  int height = 0;                  // at least 3, like width
  int width = 0;                   // columns are adjacent
  std::ptrdiff_t row_bytes = 0;    // may be negative (a flipped frame); a multiple of the sample's size
  std::ptrdiff_t frame_bytes = 0;  // likewise

  // [batch, out_height / block, out_width / block, channels], dense. Pixels beyond the frame are its reflection
  // without the edge. Channel 2 * (row phase) + (column phase) of a block of 2, like pixel_unshuffle; further channels
  // are zeros.
  void* output = nullptr;  // 16-byte aligned
  Dtype out_dtype = Dtype::kFloat16;
  int out_height = 0;  // height to 2 * height - 1
  int out_width = 0;
  int block = 1;     // 1, or 2 for space-to-depth; divides out_height and out_width
  int channels = 1;  // 1 with block 1, or a multiple of 8

  StandardiseRule rule = {2.0, 0.1, 5};   // the constants of reference.py; the box is compiled in as 5
  FrameStatistics* statistics = nullptr;  // [batch], or null
  void* workspace = nullptr;              // 16-byte aligned; what it holds before does not matter
  std::size_t workspace_bytes = 0;        // at least workspace_bytes(args)
};

namespace standardiser {

// Bytes of workspace that the launches of this batch and shape need; 0 for arguments that check() refuses.
std::size_t workspace_bytes(const StandardiseArgs& args);

// Names the first argument that does not fit; launches call it.
Status check(const StandardiseArgs& args);

// Runs on the calling thread; pointers are host memory. For proof: the fast CPU path is standardise_host.h.
Status launch_host(const StandardiseArgs& args);

// Queues two launches; pointers are device memory, stream is a cudaStream_t. Built with nvcc only.
Status launch_cuda(const StandardiseArgs& args, void* stream);

// Runs on the current GPU with pointers to host memory (the workspace may be null): allocates, copies there and back,
// waits. row_bytes and frame_bytes are not negative. For single calls and tests. Built with nvcc only.
Status run_cuda(const StandardiseArgs& args);

}  // namespace standardiser
}  // namespace pitviper
