// SPDX-License-Identifier: Apache-2.0
// What the launches of extract_targets hand to each other, and how it lies in the workspace.
#pragma once
#include "extract_targets.h"
#include "samples.h"

namespace pitviper {
namespace extractor {

using Wide = unsigned long long;  // the 64-bit type that the device adds atomically

constexpr int kMaskRows = 16;
constexpr int kMaskColumns = 64;
constexpr int kWordBits = 32;

// Sums of one component as integers, so that the order in which threads add does not matter. q = p 2^shift is an
// integer for every float p above the threshold.
struct Component {
  Wide weight;  // sum of q
  Wide x_high;  // sum of q (2 c + 1), its terms' upper and lower 32 bits apart
  Wide x_low;
  Wide y_high;
  Wide y_low;
  double mean;
  std::int32_t area;
  std::int32_t left;
  std::int32_t top;
  std::int32_t right;
  std::int32_t bottom;
  std::uint32_t peak;    // bits of the float, which order positive floats
  std::uint32_t lowest;  // order_key of the frame's values
  std::uint32_t highest;
};

// What a kernel receives: the caller's arguments, and what the host derives from them once.
struct KernelArgs {
  ExtractTargetsArgs call;
  float limit;                  // a float is above the threshold when it is above this
  int shift;                    // of Component
  std::size_t frame_workspace;  // bytes
};

// Of one frame. A pixel's node is 32 * (its word) + (its bit), which grows in raster order; only the first pixel of a
// run of set bits within a word has a parent.
struct Workspace {
  std::uint32_t* mask;    // [height][words], bit k of word w is column 32 w + k
  std::int32_t* invalid;  // [mask blocks]
  std::int32_t* active;   // words with a set bit, in raster order
  std::int32_t* parents;  // [32 height words]; -1 - (component) at a root once components are numbered
  Component* components;  // [ceil(height / 2) ceil(width / 2)], in raster order of first pixels
  std::int32_t* kept;     // [capacity], components that became records
  std::int32_t* counts;   // {components, records}
};

PV_HD int words_of(int width) { return blocks_over(width, kWordBits); }
PV_HD int mask_blocks(int height, int width) {
  return blocks_over(height, kMaskRows) * blocks_over(width, kMaskColumns);
}

namespace workspace {

PV_HD std::size_t padded(std::size_t bytes) { return (bytes + 15) / 16 * 16; }

template <typename T>
PV_HD T* take(std::uintptr_t base, std::size_t& offset, std::size_t count) {
  T* const place = reinterpret_cast<T*>(base + offset);
  offset += padded(count * sizeof(T));
  return place;
}

// Also counts the bytes, for which the base does not matter.
PV_HD Workspace lay_out(std::uintptr_t base, int height, int width, int capacity, std::size_t& bytes) {
  const std::size_t words = static_cast<std::size_t>(height) * words_of(width);
  const std::size_t most = static_cast<std::size_t>(blocks_over(height, 2)) * blocks_over(width, 2);
  bytes = 0;
  Workspace made;
  made.mask = take<std::uint32_t>(base, bytes, words);
  made.invalid = take<std::int32_t>(base, bytes, mask_blocks(height, width));
  made.active = take<std::int32_t>(base, bytes, words);
  made.parents = take<std::int32_t>(base, bytes, words * kWordBits);
  made.components = take<Component>(base, bytes, most);
  made.kept = take<std::int32_t>(base, bytes, capacity);
  made.counts = take<std::int32_t>(base, bytes, 2);
  return made;
}

}  // namespace workspace

PV_HD Workspace workspace_of(const KernelArgs& args, int frame) {
  std::size_t bytes;
  const std::uintptr_t base = reinterpret_cast<std::uintptr_t>(args.call.workspace) + frame * args.frame_workspace;
  return workspace::lay_out(base, args.call.height, args.call.width, args.call.capacity, bytes);
}

PV_HD TargetHeader* header_of(const ExtractTargetsArgs& call, int frame) {
  return reinterpret_cast<TargetHeader*>(static_cast<char*>(call.output) + frame * output_bytes(call.capacity));
}
PV_HD TargetRecord* records_of(const ExtractTargetsArgs& call, int frame) {
  return reinterpret_cast<TargetRecord*>(header_of(call, frame) + 1);
}

}  // namespace extractor
}  // namespace pitviper
