// SPDX-License-Identifier: Apache-2.0
// scenarios PLAN: what the CUDA device of the runtime does with frames, memory, streams and failures. Prints one line
// for each case: its name, the status, the sentence or what was counted.
#include <cuda_runtime.h>
#include <pitviper.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "extract_targets_components.h"
#include "runtime.h"

namespace {

using fake::control;

constexpr int kSide = 40;
constexpr int kMost = 64;
const char* plan;

void say(const char* what, long status, const std::string& text) {
  std::printf("%s|%ld|%s\n", what, status, text.c_str());
}
void say(const char* what, pv_status status) { say(what, status, pv_last_error()); }

pv_status open(const char* device, pv_detector* detector, int half = -1) {
  pv_options options{};
  options.version = PV_VERSION;
  options.device = device;
  options.half = half;
  options.threshold = -1.0;
  return pv_open(plan, &options, detector);
}

pv_detector opened(const char* device, int half = -1) {
  pv_detector detector = 0;
  if (open(device, &detector, half) != PV_OK) {
    std::fprintf(stderr, "scenarios: %s\n", pv_last_error());
    std::exit(1);
  }
  return detector;
}

// Noise, and a target whose place depends on the seed.
std::vector<std::uint16_t> drawn(unsigned seed) {
  std::vector<std::uint16_t> pixels(kSide * kSide);
  std::uint32_t state = 12345u + seed;
  for (std::uint16_t& pixel : pixels) {
    state = state * 1664525u + 1013904223u;
    pixel = static_cast<std::uint16_t>(7800 + (state >> 28));
  }
  const unsigned at = (9 + 5 * seed % 20) * kSide + 9 + 3 * seed % 20;
  pixels[at] = pixels[at + 1] = 8600;
  return pixels;
}

pv_frame frame_of(const void* data, pv_place place = PV_PAGEABLE, void* stream = nullptr) {
  pv_frame frame{};
  frame.data = data;
  frame.type = PV_U16;
  frame.height = frame.width = kSide;
  frame.place = place;
  frame.stream = stream;
  return frame;
}

struct Found {
  pv_status status;
  std::vector<pv_target> targets;
};

Found polled(pv_detector detector) {
  Found found{PV_OK, std::vector<pv_target>(kMost)};
  pv_result result{};
  found.status = pv_poll(detector, 1, found.targets.data(), kMost, &result);
  found.targets.resize(static_cast<std::size_t>(found.status == PV_OK ? result.count : 0));
  return found;
}

Found run(pv_detector detector, const pv_frame& frame) {
  const pv_status status = pv_submit(detector, &frame);
  if (status != PV_OK) return {status, {}};
  return polled(detector);
}

bool same(const Found& one, const Found& other) {
  if (one.status != PV_OK || one.targets.size() != other.targets.size() || one.targets.empty()) return false;
  for (std::size_t i = 0; i < one.targets.size(); ++i) {
    const pv_target &a = one.targets[i], &b = other.targets[i];
    if (a.x != b.x || a.y != b.y || a.left != b.left || a.area != b.area || a.peak != b.peak || a.mean != b.mean)
      return false;
  }
  return true;
}

// Frames from every place and of every form are the frames of the CPU.
void places(pv_detector detector, pv_detector host) {
  const std::vector<std::uint16_t> pixels = drawn(1);
  const std::size_t bytes = pixels.size() * sizeof(pixels[0]);
  const Found expected = run(host, frame_of(pixels.data()));
  say("pageable", same(run(detector, frame_of(pixels.data())), expected), "");
  void* const pinned = [&] {
    void* memory = nullptr;
    cudaHostAlloc(&memory, bytes, 0);
    std::memcpy(memory, pixels.data(), bytes);
    return memory;
  }();
  say("pinned", same(run(detector, frame_of(pinned, PV_PINNED)), expected), "");
  void* const there = fake::memory_of_device(0, bytes);
  const cudaStream_t stream = fake::stream_of_device(0);
  // Written by work that is still waiting when the frame is submitted.
  cudaMemcpyAsync(there, pixels.data(), bytes, cudaMemcpyHostToDevice, stream);
  say("gpu", same(run(detector, frame_of(there, PV_GPU, stream)), expected), "");
  std::vector<std::uint16_t> upside(pixels.size());
  for (int row = 0; row < kSide; ++row)
    std::memcpy(&upside[static_cast<std::size_t>(row * kSide)],
                &pixels[static_cast<std::size_t>((kSide - 1 - row) * kSide)], kSide * sizeof(upside[0]));
  pv_frame flipped = frame_of(&upside[(kSide - 1) * kSide]);
  flipped.row_bytes = -static_cast<std::ptrdiff_t>(kSide * sizeof(upside[0]));
  say("upside down", same(run(detector, flipped), expected), "");
  std::memset(pinned, 0, bytes);
  cudaMemcpyAsync(pinned, upside.data(), bytes, cudaMemcpyDefault, stream);
  flipped.data = static_cast<const std::uint16_t*>(pinned) + (kSide - 1) * kSide;
  flipped.place = PV_PINNED;
  flipped.stream = stream;
  say("pinned upside down", same(run(detector, flipped), expected), "");
  std::vector<float> floats(pixels.begin(), pixels.end());
  pv_frame real = frame_of(floats.data());
  real.type = PV_F32;
  say("float", same(run(detector, real), run(host, real)), "");
  pv_frame part = frame_of(pixels.data());
  part.height = 33;
  part.row_bytes = kSide * sizeof(pixels[0]);
  part.width = 36;
  say("part", same(run(detector, part), run(host, part)), "");
  cudaFree(there);
  cudaFreeHost(pinned);
  cudaStreamDestroy(stream);
}

// A column of four pixels whose parents are one link each, as threads that shorten ways for one another may leave them.
void chain() {
  using namespace pitviper;
  constexpr int kHigh = 4, kWide = 32;
  std::vector<float> map(kHigh * kWide, 0.75f);
  extractor::KernelArgs args{};
  args.call.input = ExtractTargetsArgs::kProbability;
  args.call.height = kHigh;
  args.call.width = kWide;
  args.call.map = map.data();
  args.call.row_bytes = kWide * sizeof(float);
  args.call.capacity = 1;
  std::size_t bytes = 0;
  extractor::workspace::lay_out(0, kHigh, kWide, 1, bytes);
  std::vector<std::uint64_t> memory(bytes / sizeof(std::uint64_t) + 2);
  args.call.workspace = memory.data();
  const extractor::Workspace space = extractor::workspace_of(args, 0);
  for (int row = 0; row < kHigh; ++row) {
    space.mask[row] = 1;
    space.active[row] = row;
    space.parents[row * kWide] = row == 0 ? -1 : (row - 1) * kWide;
  }
  extractor::Components::Shared shared{};
  shared.active = kHigh;
  for (int thread = 0; thread < kHigh; ++thread) extractor::Components::accumulate(args, space, 0, thread, shared);
  say("chain", space.components[0].area, "");
}

// Two frames in flight: the second is submitted before anything of the first has run.
void flight(pv_detector detector, pv_detector host) {
  bool all = true;
  std::vector<std::uint16_t> kept[2] = {drawn(0), drawn(1)};
  pv_frame frame = frame_of(kept[0].data());
  pv_submit(detector, &frame);
  for (unsigned index = 1; index < 7; ++index) {
    kept[index % 2] = drawn(index);
    frame = frame_of(kept[index % 2].data());
    all &= pv_submit(detector, &frame) == PV_OK;
    // Ordinary memory is read before pv_submit returns.
    std::memset(kept[index % 2].data(), 0, kept[0].size() * sizeof(kept[0][0]));
    const std::vector<std::uint16_t> before = drawn(index - 1);
    all &= same(polled(detector), run(host, frame_of(before.data())));
  }
  pv_result result;
  pv_target targets[kMost];
  const pv_status early = pv_poll(detector, 0, targets, kMost, &result);
  say("early", early);
  all &= polled(detector).status == PV_OK;
  say("flight", all, "");
}

void maps(pv_detector detector, pv_detector host) {
  const std::vector<std::uint16_t> pixels = drawn(2);
  std::vector<float> one(pixels.size()), other(pixels.size());
  run(detector, frame_of(pixels.data()));
  run(host, frame_of(pixels.data()));
  const pv_status status = pv_map(detector, one.data(), one.size());
  pv_map(host, other.data(), other.size());
  say("map", status == PV_OK && one == other && one[0] != one[5], pv_last_error());
  std::vector<float> standardised(pixels.size());
  for (std::size_t i = 0; i < pixels.size(); ++i) standardised[i] = (static_cast<float>(pixels[i]) - 7808.0f) / 5.0f;
  for (const auto kind : {pitviper::MapKind::kProbability, pitviper::MapKind::kLogOdds}) {
    pitviper::network(detector, standardised.data(), kSide, kSide, kind, one.data());
    pitviper::network(host, standardised.data(), kSide, kSide, kind, other.data());
    say(kind == pitviper::MapKind::kLogOdds ? "log-odds" : "network", one == other && one[0] != one[5], "");
  }
}

void profile(pv_detector detector) {
  const std::vector<std::uint16_t> pixels = drawn(3);
  const pv_frame frame = frame_of(pixels.data());
  pv_launch launches[64];
  int count = 0;
  pv_clock clock = PV_WALL_CLOCK;
  for (int turn = 0; turn < 2; ++turn) say("profile", pv_profile(detector, &frame, launches, 64, &count, &clock));
  std::string told;
  for (int i = 0; i < count; ++i)
    told += std::string(launches[i].operation) + " " + std::to_string(launches[i].ms).substr(0, 3) + ",";
  say("times", clock, told);
  say("little room", pv_profile(detector, &frame, launches, 3, &count, &clock));
}

// After the first frames of each kind nothing is made any more, however many follow.
void steady(pv_detector detector) {
  control().compute = false;
  const std::vector<std::uint16_t> pixels = drawn(4);
  const auto frames = [&](int count) {
    bool all = true;
    for (int index = 0; index < count; ++index) {
      pv_frame frame = frame_of(pixels.data());
      frame.type = index % 5 == 4 ? PV_U8 : PV_U16;
      frame.row_bytes = kSide * static_cast<int>(sizeof(pixels[0]));
      all &= run(detector, frame).status == PV_OK;
    }
    return all;
  };
  frames(20);
  const fake::Control before = control();
  pv_info early, late;
  pv_describe(detector, &early);
  const bool all = frames(10000);
  pv_describe(detector, &late);
  const fake::Control& after = control();
  const long made = after.memory - before.memory + after.graphs - before.graphs + after.streams - before.streams +
                    after.events - before.events + after.launches - before.launches +
                    static_cast<long>(late.allocations - early.allocations);
  say("steady", all, std::to_string(made));
  control().compute = true;
}

void wrong_memory(pv_detector detector) {
  const std::size_t bytes = kSide * kSide * sizeof(std::uint16_t);
  const std::vector<std::uint16_t> pixels = drawn(5);
  void* const other = fake::memory_of_device(1, bytes);
  void* const freed = fake::memory_of_device(0, bytes);
  cudaFree(freed);
  const cudaStream_t stream = fake::stream_of_device(1);
  say("other device", run(detector, frame_of(other, PV_GPU)).status);
  say("freed", run(detector, frame_of(freed, PV_GPU)).status);
  say("other stream", run(detector, frame_of(pixels.data(), PV_PINNED, stream)).status);
  pv_frame backwards = frame_of(other, PV_GPU);
  backwards.row_bytes = -static_cast<std::ptrdiff_t>(kSide * sizeof(std::uint16_t));
  say("backwards", run(detector, backwards).status);
  say("and again", run(detector, frame_of(pixels.data())).status);
  cudaFree(other);
  cudaStreamDestroy(stream);
}

// Memory for 0, 1, 2, ... pieces and objects, until it is enough.
void out_of_memory() {
  const std::vector<std::uint16_t> pixels = drawn(6);
  int refusals = 0;
  bool usable = true;
  std::string said;
  for (long grants = 0; grants < 100; ++grants) {
    control().grants = grants;
    pv_detector detector = 0;
    pv_status status = open("cuda:0", &detector);
    if (status == PV_OK) status = run(detector, frame_of(pixels.data())).status;
    if (status == PV_MEMORY) {
      ++refusals;
      said = pv_last_error();
      control().grants = -1;
      if (detector != 0) usable &= run(detector, frame_of(pixels.data())).status == PV_OK;
    }
    if (detector != 0) pv_close(detector);
    if (status != PV_MEMORY) {
      usable &= status == PV_OK;
      break;
    }
  }
  control().grants = -1;
  say("memory", usable ? refusals : -1, said);
}

// A launch is refused: at first, while launches are recorded, and when they are timed. The next frame runs.
void refused_launches(pv_detector detector, int launches) {
  const std::vector<std::uint16_t> pixels = drawn(7);
  bool all = true;
  for (const int after : {0, 3, launches + 2, 2 * launches + 3}) {
    pv_set_threshold(detector, 0.3 + 0.01 * after);  // another graph
    control().refused = after;
    all &= run(detector, frame_of(pixels.data())).status == PV_DEVICE;
    control().refused = -1;
    all &= run(detector, frame_of(pixels.data())).status == PV_OK;
  }
  say("refused", all, "");
}

void broken() {
  const pv_detector detector = opened("cuda:1");
  const std::vector<std::uint16_t> pixels = drawn(8);
  control().broken = true;
  say("broken", run(detector, frame_of(pixels.data())).status);
  say("still broken", run(detector, frame_of(pixels.data())).status);
  say("closed", pv_close(detector));
}

void not_there() {
  pv_detector detector = 0;
  say("no such gpu", open("cuda:2", &detector));
  control().code = false;
  say("no code", open("cuda:0", &detector));
  control().code = true;
  control().driver = false;
  say("no driver", open("cuda:0", &detector));
  control().driver = true;
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  plan = words[1];
  not_there();
  const pv_detector detector = opened("cuda:0"), host = opened("host", 1);
  pv_info info;
  pv_describe(detector, &info);
  say("device", info.half, info.device);
  places(detector, host);
  chain();
  flight(detector, host);
  maps(detector, host);
  profile(detector);
  wrong_memory(detector);
  refused_launches(detector, info.launches);
  steady(detector);
  pv_close(detector);
  pv_close(host);
  say("left behind", fake::alive(), "");
  out_of_memory();
  say("left behind again", fake::alive(), "");
  broken();
  int device = -1;
  cudaGetDevice(&device);
  say("current", device, "");
  return 0;
}
