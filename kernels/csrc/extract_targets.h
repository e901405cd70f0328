// SPDX-License-Identifier: Apache-2.0
// From the head to the list of targets, in three launches: the mask of pixels above the threshold (one bit each), the
// components with their statistics, the contrast of those kept. Nothing but records leaves the device.
// Definition: kernels/extract_targets/reference.py. Derivation and bounds: kernels/extract_targets/README.md.
#pragma once
#include "extract_targets_host.h"
#include "standardise.h"

namespace pitviper {

// One target, in pixels of the map; fields as in kernels/extract_targets/targets.py.
struct TargetRecord {
  double x;
  double y;
  std::int32_t left;
  std::int32_t top;
  std::int32_t right;
  std::int32_t bottom;
  std::int32_t area;
  float peak;
  float mean;
  float snr;
};

// Stands before the records of a frame.
struct TargetHeader {
  std::int32_t count;    // records that follow, in raster order of their first pixels
  std::int32_t total;    // components found; above count when capacity was short: the highest peaks are kept
  std::int32_t invalid;  // values of the map that are NaN (for probabilities: not finite or above 1); count is then 0
  std::int32_t frame_nonfinite;  // copied from statistics; count is then 0
};

// A 1x1 convolution that adds to the logits: output factor * (row phase) + (column phase) of a cell is the logit of
// that pixel of the cell (depth-to-space).
struct HeadSource {
  const void* map = nullptr;  // [batch, rows, columns, channels], dense, 16-byte aligned; null: not there
  int rows = 0;               // rows * factor covers the height, columns * factor the width
  int columns = 0;
  int channels = 0;               // multiple of 8, at most 128
  int factor = 1;                 // 1, or 2 for a map at half the size
  const float* weight = nullptr;  // [factor * factor, channels]
  const float* bias = nullptr;    // [factor * factor], or null
};

struct ExtractTargetsArgs {
  enum Input : int {
    kProbability = 0,  // float32 map
    kLogits = 1,       // map of dtype, the sigmoid is taken here
    kFeatures = 2,     // sources of dtype, the head's 1x1 convolution and the sigmoid are done here
  };
  Input input = kLogits;
  Dtype dtype = Dtype::kFloat32;
  int batch = 0;                 // 0 to 65535; 0 does nothing
  int height = 0;                // of the frame without its padding; height * width at most 2^24
  int width = 0;                 // at most 32768, like height
  const void* map = nullptr;     // [batch, height, width] for kProbability and kLogits
  std::ptrdiff_t row_bytes = 0;  // of map; multiples of the value's size, so that a padded map needs no copy
  std::ptrdiff_t map_bytes = 0;  // from one map to the next
  HeadSource sources[2];         // of kFeatures, the first always there

  double threshold = 0.5;  // 2^-16 to 1; a pixel above it belongs to a target
  int capacity = 256;      // records for each frame, 1 to 65535

  const void* frames = nullptr;  // raw frames for the contrast, or null: then snr is NaN
  char frame_type = 'H';         // and strides as in StandardiseArgs
  std::ptrdiff_t frame_row_bytes = 0;
  std::ptrdiff_t frame_bytes = 0;
  const FrameStatistics* statistics = nullptr;  // [batch] as standardise left them, or null: frames are finite
  ContrastRule rule = {2, 8, 8, 1.4826};        // the constants of reference.py

  void* output = nullptr;           // [batch] times output_bytes(capacity), 16-byte aligned; only written
  void* workspace = nullptr;        // 16-byte aligned; what it holds before does not matter
  std::size_t workspace_bytes = 0;  // at least workspace_bytes(args)
};

namespace extractor {

// Bytes of one frame's header and records.
PV_HD constexpr std::size_t output_bytes(int capacity) {
  return sizeof(TargetHeader) + static_cast<std::size_t>(capacity) * sizeof(TargetRecord);
}

// Bytes of workspace for this batch and shape, enough for as many components as the shape can hold (one for each 2 x 2
// pixels); 0 for arguments that check() refuses.
std::size_t workspace_bytes(const ExtractTargetsArgs& args);

// Names the first argument that does not fit; launches call it.
Status check(const ExtractTargetsArgs& args);

// Runs on the calling thread; pointers are host memory. For proof: the fast CPU path is extract_targets_host.h.
Status launch_host(const ExtractTargetsArgs& args);

// Queues two launches, or three with frames; pointers are device memory (output may be mapped host memory), stream is a
// cudaStream_t. Built with nvcc only.
Status launch_cuda(const ExtractTargetsArgs& args, void* stream);

// Runs on the current GPU with pointers to host memory (the workspace may be null; no features, no statistics):
// allocates, copies there and back, waits. Strides are not negative. For single calls and tests. Built with nvcc only.
Status run_cuda(const ExtractTargetsArgs& args);

}  // namespace extractor
}  // namespace pitviper
