// SPDX-License-Identifier: Apache-2.0
// The C functions of pitviper.h: handles, locks, and exceptions turned into codes.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <new>

#include "device_cpu.h"
#include "runtime.h"

#ifndef PITVIPER_VERSION
#define PITVIPER_VERSION "unknown"
#endif

namespace {

using pitviper::Error;
using pitviper::Runtime;

constexpr int kDefaultTargets = 256;
constexpr int kMostTargets = 65535;
constexpr std::size_t kMostPlanBytes = std::size_t{1} << 30;
constexpr std::size_t kMemoryAlignment = 64;

// The last error of a thread, in memory that needs none to be had.
thread_local char last_error[512] = "";

pv_status keep(pv_status code, const char* text) noexcept {
  std::strncpy(last_error, text, sizeof(last_error) - 1);
  last_error[sizeof(last_error) - 1] = '\0';
  return code;
}

template <typename Call>
pv_status guarded(const Call& call) noexcept {
  try {
    call();
    last_error[0] = '\0';
    return PV_OK;
  } catch (const Error& error) {
    return keep(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return keep(PV_MEMORY, "there is not enough memory");
  } catch (const std::exception& error) {
    return keep(PV_DEVICE, error.what());
  } catch (...) {
    // An allocator of the caller may throw what it likes.
    return keep(PV_DEVICE, "an unknown exception was thrown");
  }
}

// One detector and the lock under which its calls take turns. A call that is running keeps it alive over a close.
struct Open {
  std::mutex turn;
  std::unique_ptr<Runtime> runtime;
};

class Registry {
 public:
  pv_detector add(std::shared_ptr<Open> opened) {
    const std::lock_guard<std::mutex> held(lock_);
    open_.emplace(++last_, std::move(opened));
    return last_;
  }
  std::shared_ptr<Open> find(pv_detector detector, bool take) {
    const std::lock_guard<std::mutex> held(lock_);
    const auto found = open_.find(detector);
    if (found == open_.end()) throw Error(PV_CLOSED, "the detector was closed, or never opened");
    std::shared_ptr<Open> opened = found->second;
    if (take) open_.erase(found);
    return opened;
  }

 private:
  std::mutex lock_;
  std::map<pv_detector, std::shared_ptr<Open>> open_;
  pv_detector last_ = 0;
};

Registry& registry() {
  // Never destroyed: a thread of the application may still be inside a call when the process ends.
  static Registry* const kept = new Registry;
  return *kept;
}

template <typename Call>
pv_status with(pv_detector detector, const Call& call) noexcept {
  return guarded([&] {
    const std::shared_ptr<Open> opened = registry().find(detector, false);
    const std::lock_guard<std::mutex> held(opened->turn);
    if (opened->runtime == nullptr) throw Error(PV_CLOSED, "the detector was closed");
    call(*opened->runtime);
  });
}

void require(bool fits, const char* text) {
  if (!fits) throw Error(PV_ARGUMENT, text);
}

void* allocate_aligned(std::size_t bytes, void*) {
  return std::aligned_alloc(kMemoryAlignment, (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment);
}

void release_aligned(void* memory, void*) { std::free(memory); }

pv_options defaults() {
  pv_options options{};
  options.version = PV_VERSION;
  options.half = -1;
  options.threshold = -1.0;
  return options;
}

pv_detector open_plan(const void* content, std::size_t bytes, const pv_options* given) {
  const pv_options options = given == nullptr ? defaults() : *given;
  require(options.version == PV_VERSION, "options.version is not PV_VERSION: the header and the library differ");
  require(options.half >= -1 && options.half <= 1, "options.half is 0, 1 or -1");
  require(options.max_targets >= 0 && options.max_targets <= kMostTargets, "options.max_targets is 1 to 65535, or 0");
  require((options.allocate == nullptr) == (options.release == nullptr), "options.allocate and release go together");
  const pitviper::HostMemory memory = options.allocate == nullptr
                                          ? pitviper::HostMemory{allocate_aligned, release_aligned, nullptr}
                                          : pitviper::HostMemory{options.allocate, options.release, options.context};
  auto opened = std::make_shared<Open>();
  opened->runtime = std::make_unique<Runtime>(
      pitviper::parse_plan(content, bytes),
      pitviper::open_device(options.device == nullptr ? "cpu" : options.device, options.half, memory),
      options.threshold, options.max_targets == 0 ? kDefaultTargets : options.max_targets);
  return registry().add(std::move(opened));
}

std::vector<char> read_file(const char* path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff bytes = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  if (bytes < 0) throw Error(PV_PLAN, std::string(path) + " cannot be read");
  if (static_cast<std::size_t>(bytes) > kMostPlanBytes)
    throw Error(PV_PLAN, std::string(path) + " is too large for a plan");
  std::vector<char> content(static_cast<std::size_t>(bytes));
  file.seekg(0);
  if (!file.read(content.data(), bytes)) throw Error(PV_PLAN, std::string(path) + " cannot be read");
  return content;
}

}  // namespace

std::unique_ptr<pitviper::Device> pitviper::open_device(const std::string& name, int half, const HostMemory& memory) {
  if (name == "cpu") return open_cpu(half, memory);
  if (name == "host") return open_host(half, memory);
  if (name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 9 &&
      name.find_first_not_of("0123456789", 5) == std::string::npos) {
#ifdef PITVIPER_CUDA_ARCHITECTURES
    return open_cuda(std::atoi(name.c_str() + 5), half);
#else
    throw Error(PV_DEVICE, "device " + name + " cannot be had: this library was built without nvcc");
#endif
  }
  throw Error(PV_ARGUMENT, "there is no device '" + name + "'; there are cpu, host and cuda:0, cuda:1, ...");
}

pv_status pitviper::network(pv_detector detector, const float* standardised, int height, int width, MapKind kind,
                            float* map) {
  return with(detector, [&](Runtime& runtime) { runtime.network(standardised, height, width, kind, map); });
}

extern "C" {

const char* pv_version(void) { return PITVIPER_VERSION; }

const char* pv_last_error(void) { return last_error; }

pv_status pv_open(const char* path, const pv_options* options, pv_detector* detector) {
  return guarded([&] {
    require(path != nullptr && detector != nullptr, "path or detector is null");
    *detector = 0;
    const std::vector<char> content = read_file(path);
    *detector = open_plan(content.data(), content.size(), options);
  });
}

pv_status pv_open_memory(const void* plan, size_t bytes, const pv_options* options, pv_detector* detector) {
  return guarded([&] {
    require(plan != nullptr && detector != nullptr, "plan or detector is null");
    *detector = 0;
    *detector = open_plan(plan, bytes, options);
  });
}

pv_status pv_prepare(pv_detector detector, int height, int width) {
  return with(detector, [&](Runtime& runtime) { runtime.prepare(height, width); });
}

pv_status pv_submit(pv_detector detector, const pv_frame* frame) {
  return with(detector, [&](Runtime& runtime) {
    require(frame != nullptr, "frame is null");
    runtime.submit(*frame);
  });
}

pv_status pv_poll(pv_detector detector, int wait, pv_target* targets, int capacity, pv_result* result) {
  return with(detector, [&](Runtime& runtime) {
    require(result != nullptr && capacity >= 0 && (targets != nullptr || capacity == 0),
            "result or targets is null, or capacity below 0");
    *result = runtime.poll(wait != 0, targets, capacity);
  });
}

pv_status pv_map(pv_detector detector, float* probability, size_t count) {
  return with(detector, [&](Runtime& runtime) {
    require(probability != nullptr, "probability is null");
    runtime.map(probability, count);
  });
}

pv_status pv_profile(pv_detector detector, const pv_frame* frame, pv_launch* launches, int capacity, int* count,
                     pv_clock* clock) {
  return with(detector, [&](Runtime& runtime) {
    require(frame != nullptr && launches != nullptr && count != nullptr && clock != nullptr,
            "frame, launches, count or clock is null");
    const int needed = static_cast<int>(runtime.plan().launches.size()) + 2;
    if (capacity < needed) {
      throw Error(PV_ARGUMENT,
                  "a frame has " + std::to_string(needed) + " operations, room is for " + std::to_string(capacity));
    }
    const std::vector<pv_launch> timed = runtime.profile(*frame);
    std::copy(timed.begin(), timed.end(), launches);
    *count = static_cast<int>(timed.size());
    *clock = runtime.clock();
  });
}

pv_status pv_set_threshold(pv_detector detector, double threshold) {
  return with(detector, [&](Runtime& runtime) { runtime.set_threshold(threshold); });
}

pv_status pv_describe(pv_detector detector, pv_info* info) {
  return with(detector, [&](Runtime& runtime) {
    require(info != nullptr, "info is null");
    *info = runtime.describe();
  });
}

pv_status pv_close(pv_detector detector) {
  return guarded([&] {
    const std::shared_ptr<Open> opened = registry().find(detector, true);
    const std::lock_guard<std::mutex> held(opened->turn);
    opened->runtime.reset();
  });
}

}  // extern "C"
