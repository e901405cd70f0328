// SPDX-License-Identifier: Apache-2.0
#include "runtime.h"

#include <algorithm>
#include <cstring>

#include "error.h"

namespace pitviper {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr double kLowestThreshold = 1.0 / 65536;
constexpr int kSmallestSide = 32;
constexpr int kLargestSide = 32768;
constexpr std::int64_t kMostPixels = std::int64_t{1} << 24;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

int padded(int side, int stride) { return (side + stride - 1) / stride * stride; }

char letter_of(pv_type type) {
  switch (type) {
    case PV_U8: return 'B';
    case PV_U16: return 'H';
    case PV_F16: return 'e';
    case PV_F32: return 'f';
  }
  throw Error(PV_FRAME, "type " + std::to_string(type) + " is no pv_type; frames are PV_U8, PV_U16, PV_F16 or PV_F32");
}

GivenFrame checked(const pv_frame& frame) {
  const char type = letter_of(frame.type);
  const std::ptrdiff_t sample = type == 'B' ? 1 : type == 'f' ? 4 : 2;
  const std::ptrdiff_t dense = sample * frame.width;
  const std::ptrdiff_t row_bytes = frame.row_bytes == 0 ? dense : frame.row_bytes;
  if (frame.data == nullptr) throw Error(PV_FRAME, "the frame has no data");
  if (reinterpret_cast<std::uintptr_t>(frame.data) % static_cast<std::uintptr_t>(sample) != 0 ||
      row_bytes % sample != 0) {
    throw Error(PV_FRAME, "the frame or its rows (row_bytes " + std::to_string(row_bytes) +
                              ") do not begin at a multiple of " + std::to_string(sample) + " bytes");
  }
  if (std::abs(row_bytes) < dense) {
    throw Error(PV_FRAME, "row_bytes " + std::to_string(row_bytes) + " is less than a row's " + std::to_string(dense) +
                              " bytes; 0 stands for adjacent rows");
  }
  if (frame.place < PV_PAGEABLE || frame.place > PV_GPU) throw Error(PV_FRAME, "the frame's place is no pv_place");
  return {frame.data, type, frame.height, frame.width, row_bytes, frame.place, frame.stream};
}

}  // namespace

Buffer::~Buffer() {
  if (memory_ != nullptr) device_->release(memory_, host_reads_);
}

void Buffer::attach(Device* device, bool host_reads, std::uint64_t* allocations) {
  device_ = device;
  host_reads_ = host_reads;
  allocations_ = allocations;
}

bool Buffer::grow(std::size_t bytes) {
  if (bytes <= bytes_) return false;
  void* const grown = device_->allocate(aligned(bytes), host_reads_);
  ++*allocations_;
  if (memory_ != nullptr) device_->release(memory_, host_reads_);
  memory_ = grown;
  bytes_ = aligned(bytes);
  return true;
}

Runtime::Runtime(Plan plan, std::unique_ptr<Device> device, double threshold, int max_targets)
    : plan_(std::move(plan)), device_(std::move(device)), max_targets_(max_targets) {
  for (Buffer* buffer : {&weights_, &arena_, &plane_, &logits_, &workspace_, &scratch_}) {
    buffer->attach(device_.get(), false, &allocations_);
  }
  for (int slot = 0; slot < kSlots; ++slot) {
    statistics_[slot].attach(device_.get(), false, &allocations_);
    frames_[slot].attach(device_.get(), false, &allocations_);
    staging_[slot].attach(device_.get(), true, &allocations_);
    records_[slot].attach(device_.get(), true, &allocations_);
    statistics_[slot].grow(sizeof(FrameStatistics));
    records_[slot].grow(extractor::output_bytes(max_targets));
  }
  set_threshold(threshold < 0.0 ? plan_.threshold : threshold);
  program_.launches.resize(plan_.launches.size());
  load_weights();
}

Runtime::~Runtime() {
  try {
    drain();
  } catch (const std::exception&) {
    // The device failed; there is nothing left to wait for.
  }
}

void Runtime::load_weights() {
  std::vector<unsigned char> packed;
  const auto place = [&](std::size_t bytes) {
    const std::size_t at = packed.size();
    packed.resize(at + aligned(bytes));
    return at;
  };
  const auto kernel = [&](std::int64_t at, int outputs, int inputs, int side) {
    const std::size_t to = place(device_->weight_bytes(outputs, inputs, side));
    device_->pack(plan_.weights.data() + at, outputs, inputs, side, packed.data() + to);
    return to;
  };
  const auto floats = [&](std::int64_t at, int count) {
    const std::size_t to = place(sizeof(float) * static_cast<std::size_t>(count));
    std::memcpy(packed.data() + to, plan_.weights.data() + at, sizeof(float) * static_cast<std::size_t>(count));
    return to;
  };
  // From here on the plan's launches hold byte offsets into the packed weights.
  for (PlanLaunch& launch : plan_.launches) {
    const int inputs = plan_.channels_of(launch.source);
    launch.weight = static_cast<std::int64_t>(kernel(launch.weight, launch.channels, inputs, launch.kernel));
    launch.bias = static_cast<std::int64_t>(floats(launch.bias, launch.channels));
    if (launch.op == PlanOp::kResidual) {
      launch.weight2 = static_cast<std::int64_t>(kernel(launch.weight2, launch.channels, launch.channels, 3));
      launch.bias2 = static_cast<std::int64_t>(floats(launch.bias2, launch.channels));
    } else if (launch.low != -1) {
      launch.weight2 = static_cast<std::int64_t>(kernel(launch.weight2, inputs, plan_.channels_of(launch.low), 1));
      launch.bias2 = static_cast<std::int64_t>(floats(launch.bias2, inputs));
    }
    if (launch.outputs == 0) continue;
    launch.head_weight = static_cast<std::int64_t>(floats(launch.head_weight, launch.outputs * launch.channels));
    launch.head_bias = static_cast<std::int64_t>(floats(launch.head_bias, launch.outputs));
    if (launch.coarse == -1) continue;
    launch.coarse_weight =
        static_cast<std::int64_t>(floats(launch.coarse_weight, 4 * plan_.channels_of(launch.coarse)));
  }
  weights_.grow(packed.size());
  device_->upload(weights_.at(), packed.data(), packed.size());
  plan_.weights = {};
}

void Runtime::check_shape(int height, int width) const {
  for (const int side : {height, width}) {
    if (side < kSmallestSide || side > kLargestSide || padded(side, plan_.stride) >= 2 * side) {
      throw Error(PV_FRAME, "a frame of " + std::to_string(height) + " x " + std::to_string(width) +
                                " pixels cannot be used; sides are 32 to 32768");
    }
  }
  if (std::int64_t{1} * padded(height, plan_.stride) * padded(width, plan_.stride) > kMostPixels) {
    throw Error(PV_FRAME, "a frame of " + std::to_string(height) + " x " + std::to_string(width) +
                              " pixels has more than 2^24; cut it into tiles");
  }
}

void Runtime::prepare(int height, int width) {
  check_shape(height, width);
  if (height == height_ && width == width_) return;
  drain();
  height_ = width_ = 0;
  map_height_ = 0;
  StandardiseArgs& standardise = program_.standardise;
  ExtractTargetsArgs& extract = program_.extract;
  standardise.batch = extract.batch = 1;
  standardise.height = extract.height = height;
  standardise.width = extract.width = width;
  standardise.out_height = padded(height, plan_.stride);
  standardise.out_width = padded(width, plan_.stride);
  standardise.out_dtype = device_->dtype();
  standardise.rule = plan_.standardise_rule;
  extract.input = ExtractTargetsArgs::kLogits;
  extract.row_bytes = static_cast<std::ptrdiff_t>(sizeof(float)) * standardise.out_width;
  extract.map_bytes = extract.row_bytes * standardise.out_height;
  extract.threshold = threshold_;
  extract.capacity = max_targets_;
  extract.rule = plan_.contrast_rule;
  build_program(standardise.out_height, standardise.out_width);
  height_ = height;
  width_ = width;
}

GivenFrame Runtime::begin(const pv_frame& frame, int slot) {
  const GivenFrame given = checked(frame);
  prepare(frame.height, frame.width);
  program_.standardise.statistics = static_cast<FrameStatistics*>(statistics_[slot].at());
  program_.extract.statistics = program_.standardise.statistics;
  program_.extract.threshold = threshold_;
  map_height_ = 0;
  return given;
}

void Runtime::submit(const pv_frame& frame) {
  if (begun_ - polled_ == kSlots) throw Error(PV_BUSY, "two frames are in flight; poll one first");
  const int slot = static_cast<int>(begun_ % kSlots);
  const GivenFrame given = begin(frame, slot);
  device_->submit(slot, given, program_, memory_of(slot));
  flights_[slot] = {frame.id, frame.height, frame.width, true};
  ++begun_;
}

SlotMemory Runtime::memory_of(int slot) const { return {frames_[slot].at(), staging_[slot].at(), records_[slot].at()}; }

void Runtime::drain() {
  for (int slot = 0; slot < kSlots; ++slot) {
    if (flights_[slot].pending) device_->finished(slot, true);
  }
}

pv_result Runtime::poll(bool wait, pv_target* targets, int capacity) {
  if (begun_ == polled_) throw Error(PV_EMPTY, "no frame is in flight; submit one first");
  const int slot = static_cast<int>(polled_ % kSlots);
  Flight& flight = flights_[slot];
  if (!device_->finished(slot, wait)) throw Error(PV_EMPTY, "the frame is not finished");
  flight.pending = false;
  TargetHeader header;
  const char* const bytes = static_cast<const char*>(records_[slot].at());
  std::memcpy(&header, bytes, sizeof(header));
  if (header.count > capacity) {
    throw Error(PV_ARGUMENT, "the frame has " + std::to_string(header.count) + " targets, room is for " +
                                 std::to_string(capacity) + "; poll again with more");
  }
  ++polled_;
  if (header.frame_nonfinite != 0) {
    throw Error(PV_FRAME, "the frame holds " + std::to_string(header.frame_nonfinite) + " NaN or infinite values");
  }
  if (header.invalid != 0) {
    throw Error(PV_NETWORK, "the network gave " + std::to_string(header.invalid) + " values that are no probabilities" +
                                (device_->dtype() == Dtype::kFloat32 ? "" : "; try half = 0"));
  }
  pv_result result{flight.id, flight.height, flight.width, header.count, header.total};
  const char* record = bytes + sizeof(header);
  for (int i = 0; i < result.count; ++i, record += sizeof(TargetRecord)) {
    TargetRecord from;
    std::memcpy(&from, record, sizeof(from));
    targets[i] = {from.x,      from.y,    from.left, from.top,  from.right,
                  from.bottom, from.area, from.peak, from.mean, from.snr};
  }
  if (begun_ == polled_ && flight.height == height_ && flight.width == width_) {
    map_height_ = flight.height;
    map_width_ = flight.width;
  }
  return result;
}

void Runtime::map(float* probability, std::size_t count) {
  if (map_height_ == 0) throw Error(PV_EMPTY, "no map is kept: another frame was begun, or none was polled");
  const std::size_t pixels = static_cast<std::size_t>(map_height_) * static_cast<std::size_t>(map_width_);
  if (count != pixels) {
    throw Error(PV_ARGUMENT, "the map has " + std::to_string(pixels) + " values, room is for " + std::to_string(count));
  }
  device_->read_map(program_, memory_of(0), MapKind::kProbability, probability);
}

void Runtime::network(const float* standardised, int height, int width, MapKind kind, float* map) {
  if (begun_ != polled_) throw Error(PV_BUSY, "a frame is in flight; poll it first");
  if (height % plan_.stride != 0 || width % plan_.stride != 0) {
    throw Error(PV_FRAME, "standardised frames have sides that are multiples of " + std::to_string(plan_.stride));
  }
  prepare(height, width);
  map_height_ = 0;
  device_->network(program_, memory_of(0), standardised, kind, map);
}

std::vector<pv_launch> Runtime::profile(const pv_frame& frame) {
  if (begun_ != polled_) throw Error(PV_BUSY, "a frame is in flight; poll it first");
  const GivenFrame given = begin(frame, 0);
  std::vector<double> ms(timed_operations(program_));
  device_->profile(given, program_, memory_of(0), ms.data());
  std::vector<pv_launch> launches;
  const auto add = [&](const char* operation, int channels) {
    pv_launch launch{};
    std::strncpy(launch.operation, operation, sizeof(launch.operation) - 1);
    launch.channels = channels;
    launch.ms = ms[launches.size()];
    launches.push_back(launch);
  };
  add("standardise", 1);
  for (const PlanLaunch& launch : plan_.launches)
    add(launch.op == PlanOp::kResidual ? "residual_block" : "conv_block", launch.channels);
  add("extract_targets", 1);
  return launches;
}

void Runtime::set_threshold(double threshold) {
  if (!(threshold >= kLowestThreshold && threshold < 1.0)) {
    throw Error(PV_ARGUMENT, "the threshold is a probability, at least 2^-16 and below 1");
  }
  threshold_ = threshold;
}

pv_info Runtime::describe() const {
  pv_info info{};
  const auto copy = [](char* to, std::size_t room, const std::string& text) {
    std::memcpy(to, text.data(), std::min(text.size(), room - 1));
  };
  copy(info.model, sizeof(info.model), plan_.name);
  copy(info.architecture, sizeof(info.architecture), plan_.architecture);
  copy(info.device, sizeof(info.device), device_->name());
  info.stride = plan_.stride;
  info.half = device_->dtype() == Dtype::kFloat16;
  info.launches = static_cast<int>(plan_.launches.size());
  info.threshold = threshold_;
  info.allocations = allocations_;
  for (const Buffer* buffer : {&weights_, &arena_, &plane_, &logits_, &workspace_, &scratch_})
    info.bytes += buffer->bytes();
  for (int slot = 0; slot < kSlots; ++slot) {
    info.bytes += statistics_[slot].bytes() + frames_[slot].bytes() + staging_[slot].bytes() + records_[slot].bytes();
  }
  return info;
}

}  // namespace pitviper
