// SPDX-License-Identifier: Apache-2.0
// What runs a plan: where its memory lies, and how the launches of one frame are begun and waited for.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "extract_targets.h"
#include "pitviper.h"
#include "residual_block.h"

namespace pitviper {

constexpr int kSlots = 2;  // frames in flight

// All launches of a frame, with every address in place but those of the frame itself.
struct Program {
  struct Launch {
    bool residual = false;
    ConvBlockArgs conv;
    ResidualBlockArgs block;
  };
  StandardiseArgs standardise;
  std::vector<Launch> launches;
  ExtractTargetsArgs extract;
  // Memory that the launches of the CPU keep a few rows in.
  float* scratch = nullptr;
};

// A checked frame in the caller's memory.
struct GivenFrame {
  const void* data;
  char type;  // numpy character, as in StandardiseArgs
  int height;
  int width;
  std::ptrdiff_t row_bytes;
  pv_place place;
  void* stream;
};

// Memory that belongs to one of the frames in flight.
struct SlotMemory {
  void* frame = nullptr;    // of the device, for the raw frame; null where frames are not copied
  void* staging = nullptr;  // that host and device read, as large; null likewise
  void* records = nullptr;  // that host and device read
};

// What a map is read back as.
enum class MapKind { kProbability, kLogOdds };

// Operations of a frame whose time `Device::profile` takes: standardise, every launch, extract_targets.
inline std::size_t timed_operations(const Program& program) { return program.launches.size() + 2; }

// Not safe for use by several threads at once. Functions throw Error(PV_DEVICE) or Error(PV_MEMORY).
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  // Of maps and packed weights.
  virtual Dtype dtype() const = 0;

  // Memory that launches read and write, and memory for records that the host reads as well.
  virtual void* allocate(std::size_t bytes, bool host_reads) = 0;
  virtual void release(void* memory, bool host_reads) noexcept = 0;
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
  // float32 [out, in, kernel, kernel] as the launches of this device read it: bytes and values.
  virtual std::size_t weight_bytes(int out_channels, int in_channels, int kernel) const = 0;
  virtual void pack(const float* weight, int out_channels, int in_channels, int kernel, void* packed) const = 0;
  // Bytes of Program::scratch.
  virtual std::size_t scratch_bytes(const Program& program) const = 0;
  // Whether frames are copied to memory of the device first.
  virtual bool copies_frames() const = 0;

  // The program was made for another shape. moved: some of its addresses were given back.
  virtual void prepared(bool moved) = 0;
  // Begins a frame.
  virtual void submit(int slot, const GivenFrame& frame, Program& program, const SlotMemory& memory) = 0;
  // Whether the slot's frame is finished; blocks until it is when wait is set.
  virtual bool finished(int slot, bool wait) = 0;
  // Runs the convolutions alone on one standardised frame in host memory, and waits.
  virtual void network(Program& program, const SlotMemory& memory, const float* standardised, MapKind kind,
                       float* map) = 0;
  // The map of the last frame, after it has finished.
  virtual void read_map(const Program& program, const SlotMemory& memory, MapKind kind, float* to) = 0;
  // What `profile` reads.
  virtual pv_clock clock() const = 0;
  // Runs one frame, operation by operation, and waits; ms has room for timed_operations(program).
  virtual void profile(const GivenFrame& frame, Program& program, const SlotMemory& memory, double* ms) = 0;
};

// The rows of a frame, without their padding, from logits that lie as those of `args.map`.
void copy_map(const ExtractTargetsArgs& args, const void* logits, MapKind kind, float* to);

using Allocate = void* (*)(std::size_t bytes, void* context);
using Release = void (*)(void* memory, void* context);

struct HostMemory {
  Allocate allocate;
  Release release;
  void* context;
};

// "cpu", "host" or "cuda:N". half: 1, 0, or -1 for the device's own choice.
std::unique_ptr<Device> open_device(const std::string& name, int half, const HostMemory& memory);
// Built with nvcc only.
std::unique_ptr<Device> open_cuda(int index, int half);

}  // namespace pitviper
