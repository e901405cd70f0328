// SPDX-License-Identifier: Apache-2.0
#include "plan.h"

#include <cmath>
#include <cstring>

#include "error.h"

namespace pitviper {
namespace {

constexpr char kMagic[8] = {'P', 'V', 'P', 'L', 'A', 'N', '\r', '\n'};
constexpr std::uint32_t kSchema = 1;
constexpr std::uint32_t kMostRecords = 1024;
constexpr std::uint32_t kMostStride = 64;
constexpr std::uint32_t kMostArena = 1u << 24;
constexpr int kMostChannels = 512;
constexpr int kChannelMultiple = 16;
constexpr std::int64_t kAlignment = 128;

[[noreturn]] void refuse(const std::string& text) {
  throw Error(PV_PLAN, "the plan cannot be used: " + text + "; write it again with this version of pitviper");
}

void require(bool fits, const char* text) {
  if (!fits) refuse(text);
}

std::uint32_t crc32(const unsigned char* bytes, std::size_t count) {
  std::uint32_t table[256];
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0u);
    table[i] = value;
  }
  std::uint32_t crc = 0xffffffffu;
  for (std::size_t i = 0; i < count; ++i) crc = (crc >> 8) ^ table[(crc ^ bytes[i]) & 0xff];
  return crc ^ 0xffffffffu;
}

class Reader {
 public:
  Reader(const unsigned char* bytes, std::size_t count) : at_(bytes), left_(count) {}

  template <typename Value>
  Value take() {
    Value value;
    copy(&value, sizeof(value));
    return value;
  }
  void copy(void* target, std::size_t count) {
    require(count <= left_, "it is cut off");
    std::memcpy(target, at_, count);
    at_ += count;
    left_ -= count;
  }
  std::string text(std::size_t field) {
    std::string value(field, '\0');
    copy(&value[0], field);
    const std::size_t end = value.find('\0');
    require(end != std::string::npos, "a name does not end");
    value.resize(end);
    return value;
  }
  std::size_t left() const { return left_; }

 private:
  const unsigned char* at_;
  std::size_t left_;
};

bool power_of_two(std::int64_t value) { return value > 0 && (value & (value - 1)) == 0; }

PlanValue read_value(Reader& reader) {
  const auto channels = reader.take<std::uint32_t>(), divisor = reader.take<std::uint32_t>();
  const auto offset = reader.take<std::uint32_t>();
  require(reader.take<std::uint32_t>() == 0, "a value has an unknown field");
  require(channels <= kMostChannels && divisor <= kMostStride, "a value is too large");
  return {static_cast<int>(channels), static_cast<int>(divisor), offset};
}

PlanLaunch read_launch(Reader& reader) {
  PlanLaunch launch{};
  const auto op = reader.take<std::int32_t>();
  require(op == 1 || op == 2, "it holds an operation that this version does not know");
  launch.op = static_cast<PlanOp>(op);
  for (int* field : {&launch.source, &launch.target, &launch.channels, &launch.low, &launch.residual, &launch.coarse,
                     &launch.kernel, &launch.stride}) {
    *field = reader.take<std::int32_t>();
  }
  const auto flags = reader.take<std::int32_t>();
  require(flags >= 0 && flags < 4, "a launch has an unknown flag");
  launch.relu = flags & 1;
  launch.merge_relu = flags & 2;
  for (int* field : {&launch.upsample, &launch.merge_scale, &launch.outputs}) *field = reader.take<std::int32_t>();
  for (std::int64_t* field : {&launch.weight, &launch.bias, &launch.weight2, &launch.bias2, &launch.head_weight,
                              &launch.head_bias, &launch.coarse_weight}) {
    *field = reader.take<std::int64_t>();
  }
  return launch;
}

// What follows holds for every launch after check(); the executors rely on it.
class Checker {
 public:
  explicit Checker(const Plan& plan) : plan_(plan), written_(plan.values.size(), false) { written_[0] = true; }

  void check_values() const {
    const PlanValue& frame = plan_.values[0];
    require(frame.divisor == plan_.block && frame.channels == plan_.block * plan_.block, "its input is no frame");
    for (std::size_t i = 1; i < plan_.values.size(); ++i) {
      const PlanValue& value = plan_.values[i];
      require(value.channels > 0 && value.channels % kChannelMultiple == 0, "channels must be a multiple of 16");
      require(power_of_two(value.divisor) && plan_.stride % value.divisor == 0, "a map is smaller than the stride");
      require(value.offset % kAlignment == 0 && end_of(i) <= plan_.arena, "a map lies outside the arena");
    }
  }

  void check(const PlanLaunch& launch, bool last) {
    require(launch.source >= 0 && readable(launch.source), "a launch reads what nothing wrote");
    for (const int value : {launch.low, launch.residual, launch.coarse}) {
      require(value == -1 || (value > 0 && readable(value)), "a launch reads what nothing wrote");
    }
    require(launch.kernel == 1 || launch.kernel == 3, "kernels are 1x1 or 3x3");
    require(launch.stride == 1 || launch.stride == 2, "strides are 1 or 2");
    require(launch.upsample == 1 || (launch.upsample == 2 && launch.kernel == 1 && launch.stride == 1),
            "only a 1x1 convolution doubles its result");
    require(launch.channels > 0 && launch.channels <= kMostChannels && launch.channels % kChannelMultiple == 0,
            "channels must be a multiple of 16");
    require((launch.outputs != 0) == last, "the last launch, and no other, gives the logits");
    check_weights(launch, launch.weight, launch.bias, launch.kernel, plan_.channels_of(launch.source));
    if (launch.op == PlanOp::kResidual) {
      check_residual(launch);
    } else {
      check_conv(launch);
    }
    if (last) {
      check_head(launch);
    } else {
      check_target(launch);
    }
  }

 private:
  std::int64_t end_of(std::size_t index) const {
    const PlanValue& value = plan_.values[index];
    const std::int64_t side = plan_.stride / value.divisor;
    return value.offset + value.channels * side * side;
  }

  bool readable(int value) const {
    return static_cast<std::size_t>(value) < plan_.values.size() && written_[static_cast<std::size_t>(value)];
  }

  void check_range(std::int64_t at, std::int64_t count) const {
    const std::int64_t size = static_cast<std::int64_t>(plan_.weights.size());
    require(at >= 0 && at % kChannelMultiple == 0 && count <= size && at <= size - count,
            "a launch takes weights from outside the file");
  }

  void check_weights(const PlanLaunch& launch, std::int64_t weight, std::int64_t bias, int kernel, int inputs) const {
    check_range(weight, std::int64_t{1} * launch.channels * inputs * kernel * kernel);
    check_range(bias, launch.channels);
  }

  void check_residual(const PlanLaunch& launch) const {
    const bool shortcut = launch.residual != -1;
    require(launch.kernel == 3 && launch.stride == 1 && launch.upsample == 1 && launch.relu && launch.low == -1,
            "a residual block is two 3x3 convolutions");
    require(launch.outputs == 0 && launch.channels <= 64, "a residual block has at most 64 channels and no head");
    require(!shortcut || (launch.residual == launch.source && plan_.channels_of(launch.source) == launch.channels),
            "a residual block adds its own input");
    require(shortcut || launch.source == 0, "a pair of convolutions reads the frame");
    require(launch.source == 0 || plan_.channels_of(launch.source) <= 64, "a residual block has at most 64 channels");
    check_weights(launch, launch.weight2, launch.bias2, 3, launch.channels);
  }

  void check_conv(const PlanLaunch& launch) const {
    const int in_channels = plan_.channels_of(launch.source);
    if (launch.low != -1) {
      const int scale = launch.merge_scale;
      require(launch.source > 0 && (scale == 1 || scale == 2) && plan_.channels_of(launch.low) <= 128 &&
                  plan_.divisor_of(launch.low) == plan_.divisor_of(launch.source) * scale,
              "the inputs of a merge do not fit together");
      check_range(launch.weight2, std::int64_t{1} * in_channels * plan_.channels_of(launch.low));
      check_range(launch.bias2, in_channels);
    } else {
      require(launch.merge_scale == 0 && !launch.merge_relu, "a launch merges nothing");
    }
    if (launch.residual != -1) {
      require(launch.outputs == 0, "a head follows no sum");
      require(
          plan_.channels_of(launch.residual) == launch.channels &&
              plan_.divisor_of(launch.residual) * launch.upsample == plan_.divisor_of(launch.source) * launch.stride,
          "a map that is added has another shape");
    }
  }

  void check_head(const PlanLaunch& launch) const {
    require(launch.op == PlanOp::kConv && launch.target == -1 && launch.channels <= 64 && launch.upsample == 1,
            "a head follows a convolution of at most 64 channels");
    const int divisor = plan_.divisor_of(launch.source) * launch.stride;
    require((launch.outputs == 1 && divisor == 1) || (launch.outputs == 4 && divisor == 2),
            "the logits are not as large as the frame");
    check_range(launch.head_weight, std::int64_t{1} * launch.outputs * launch.channels);
    check_range(launch.head_bias, launch.outputs);
    if (launch.coarse == -1) return;
    require(plan_.divisor_of(launch.coarse) == 2 && plan_.channels_of(launch.coarse) <= 128,
            "the coarse map is not at half the frame's size");
    check_range(launch.coarse_weight, std::int64_t{4} * plan_.channels_of(launch.coarse));
  }

  // Marks the target as written and what lay in its place as gone.
  void check_target(const PlanLaunch& launch) {
    require(launch.target > 0 && static_cast<std::size_t>(launch.target) < plan_.values.size() && launch.coarse == -1,
            "a launch writes no map");
    const PlanValue& target = plan_.values[static_cast<std::size_t>(launch.target)];
    require(target.channels == launch.channels &&
                target.divisor * launch.upsample == plan_.divisor_of(launch.source) * launch.stride,
            "a launch writes a map of another shape");
    const std::int64_t end = end_of(static_cast<std::size_t>(launch.target));
    for (std::size_t i = 1; i < plan_.values.size(); ++i) {
      if (plan_.values[i].offset < end && target.offset < end_of(i)) written_[i] = false;
    }
    for (const int value : {launch.source, launch.low, launch.residual}) {
      require(value == -1 || written_[static_cast<std::size_t>(value)], "a launch writes where it reads");
    }
    written_[static_cast<std::size_t>(launch.target)] = true;
  }

  const Plan& plan_;
  std::vector<bool> written_;
};

void read_rules(Reader& reader, Plan& plan) {
  plan.threshold = reader.take<double>();
  plan.standardise_rule.residual_weight = reader.take<double>();
  plan.standardise_rule.deviation_weight = reader.take<double>();
  plan.contrast_rule.mad_to_deviation = reader.take<double>();
  for (int* field :
       {&plan.standardise_rule.box, &plan.contrast_rule.gap, &plan.contrast_rule.reach, &plan.contrast_rule.fewest}) {
    *field = reader.take<std::int32_t>();
  }
  const StandardiseRule& scale = plan.standardise_rule;
  const ContrastRule& ring = plan.contrast_rule;
  for (const double weight : {scale.residual_weight, scale.deviation_weight, ring.mad_to_deviation}) {
    require(std::isfinite(weight) && weight > 0.0 && weight < 1e6, "a constant of its frame operations is odd");
  }
  require(plan.threshold >= 1.0 / 65536 && plan.threshold < 1.0, "its threshold is no probability");
  require(scale.box >= 3 && scale.box <= 63 && scale.box % 2 == 1, "its box is no box");
  require(ring.gap >= 0 && ring.gap < ring.reach && ring.reach <= 64 && ring.fewest >= 1, "its ring is no ring");
}

}  // namespace

Plan parse_plan(const void* content, std::size_t bytes) {
  const auto* const start = static_cast<const unsigned char*>(content);
  Reader reader(start, bytes);
  char magic[sizeof(kMagic)];
  reader.copy(magic, sizeof(magic));
  require(std::memcmp(magic, kMagic, sizeof(kMagic)) == 0, "it is no plan of pitviper");
  const auto schema = reader.take<std::uint32_t>();
  if (schema != kSchema) {
    refuse("it has schema " + std::to_string(schema) + ", this library reads schema " + std::to_string(kSchema));
  }
  require(reader.left() >= sizeof(std::uint32_t), "it is cut off");
  std::uint32_t sum;
  std::memcpy(&sum, start + bytes - sizeof(sum), sizeof(sum));
  require(sum == crc32(start, bytes - sizeof(sum)), "its check sum is wrong, so it was cut off or changed");

  Plan plan;
  const auto stride = reader.take<std::uint32_t>(), block = reader.take<std::uint32_t>();
  const auto values = reader.take<std::uint32_t>(), launches = reader.take<std::uint32_t>();
  const auto arena = reader.take<std::uint32_t>();
  const auto floats = reader.take<std::uint32_t>();
  require(reader.take<std::uint32_t>() == 0, "its header has an unknown field");
  require(power_of_two(stride) && stride <= kMostStride && (block == 1 || (block == 2 && stride >= 2)),
          "its stride is odd");
  require(values >= 1 && values <= kMostRecords && launches >= 1 && launches <= kMostRecords && arena <= kMostArena,
          "it is too large");
  plan.stride = static_cast<int>(stride);
  plan.block = static_cast<int>(block);
  plan.arena = arena;
  read_rules(reader, plan);
  plan.name = reader.text(64);
  plan.architecture = reader.text(64);
  plan.normalisation = reader.text(32);
  for (std::uint32_t i = 0; i < values; ++i) plan.values.push_back(read_value(reader));
  for (std::uint32_t i = 0; i < launches; ++i) plan.launches.push_back(read_launch(reader));
  require(reader.left() == floats * sizeof(float) + sizeof(sum), "its weights are not of the stated size");
  plan.weights.resize(floats);
  reader.copy(plan.weights.data(), floats * sizeof(float));
  for (const float weight : plan.weights) require(std::isfinite(weight), "a weight is not finite");
  Checker checker(plan);
  checker.check_values();
  for (const PlanLaunch& launch : plan.launches) checker.check(launch, &launch == &plan.launches.back());
  return plan;
}

}  // namespace pitviper
