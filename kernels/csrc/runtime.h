// SPDX-License-Identifier: Apache-2.0
// One plan on one device: buffers, weights, the frames in flight.
#pragma once
#include <cstdint>
#include <memory>

#include "device.h"
#include "plan.h"

namespace pitviper {

// Memory of a device that only grows.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void attach(Device* device, bool host_reads, std::uint64_t* allocations);
  // Keeps the old memory when the new cannot be had; returns whether the address changed.
  bool grow(std::size_t bytes);
  void* at() const { return memory_; }
  std::size_t bytes() const { return bytes_; }

 private:
  Device* device_ = nullptr;
  bool host_reads_ = false;
  std::uint64_t* allocations_ = nullptr;
  void* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

// Calls must take turns. Functions throw Error and std::bad_alloc.
class Runtime {
 public:
  Runtime(Plan plan, std::unique_ptr<Device> device, double threshold, int max_targets);
  ~Runtime();

  void prepare(int height, int width);
  void submit(const pv_frame& frame);
  pv_result poll(bool wait, pv_target* targets, int capacity);
  // Values of the frame polled last, float[height * width].
  void map(float* probability, std::size_t count);
  // Times of one frame, operation by operation; its targets are not kept. No frame may be in flight.
  std::vector<pv_launch> profile(const pv_frame& frame);
  pv_clock clock() const { return device_->clock(); }
  // The map of one standardised frame whose sides are multiples of the stride. No frame may be in flight.
  void network(const float* standardised, int height, int width, MapKind kind, float* map);
  void set_threshold(double threshold);
  pv_info describe() const;
  const Plan& plan() const { return plan_; }

 private:
  struct Flight {
    std::uint64_t id = 0;
    int height = 0;
    int width = 0;
    bool pending = false;
  };

  void load_weights();
  void check_shape(int height, int width) const;
  void build_program(int padded_height, int padded_width);
  class Maps;
  const void* packed(std::int64_t at) const;
  const float* floats(std::int64_t at) const;
  void connect_residual(const PlanLaunch& launch, const Maps& maps, ResidualBlockArgs& args) const;
  void connect_conv(const PlanLaunch& launch, const Maps& maps, ConvBlockArgs& args) const;
  // Makes everything ready for a frame in this slot.
  GivenFrame begin(const pv_frame& frame, int slot);
  void drain();
  SlotMemory memory_of(int slot) const;

  Plan plan_;
  std::unique_ptr<Device> device_;
  double threshold_ = 0.0;
  int max_targets_;
  std::uint64_t allocations_ = 0;
  Program program_;
  int height_ = 0;  // that the program is made for; 0: none
  int width_ = 0;
  Buffer weights_, arena_, plane_, logits_, workspace_, scratch_, statistics_[kSlots], frames_[kSlots];
  Buffer staging_[kSlots], records_[kSlots];
  bool moved_ = false;  // since the device was last told of a program
  Flight flights_[kSlots];
  std::uint64_t begun_ = 0;   // frames submitted
  std::uint64_t polled_ = 0;  // frames taken
  int map_height_ = 0;        // of the frame that pv_map gives; 0: none
  int map_width_ = 0;
};

// Runtime::network of an open detector, for code that standardises and extracts itself.
pv_status network(pv_detector detector, const float* standardised, int height, int width, MapKind kind, float* map);

}  // namespace pitviper
