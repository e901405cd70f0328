// SPDX-License-Identifier: Apache-2.0
// allocations PLAN DEVICE FRAMES: runs frames of changing content, type and shape, and counts every call that asks
// for memory in the whole process, in this program and in the library.
#include <pitviper.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {
std::atomic<unsigned long long> asked{0};
}

// glibc's own functions under the names that everything else calls; new and delete end here too.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) {
  ++asked;
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
  ++asked;
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) {
  ++asked;
  return __libc_realloc(memory, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  ++asked;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  *memory = memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
}

namespace {

constexpr int kSide = 48;
std::uint16_t pixels[kSide * kSide];

void require(pv_status status) {
  if (status == PV_OK) return;
  std::fprintf(stderr, "allocations: %s\n", pv_last_error());
  std::exit(1);
}

// Noise from a small generator, and every third frame a target.
void draw(unsigned frame) {
  std::uint32_t state = 12345u + frame;
  for (std::uint16_t& pixel : pixels) {
    state = state * 1664525u + 1013904223u;
    pixel = static_cast<std::uint16_t>(7800 + (state >> 28));
  }
  if (frame % 3 != 0) return;
  const unsigned row = 8 + frame % 24, column = 8 + frame % 21;
  pixels[row * kSide + column] = pixels[row * kSide + column + 1] = 8600;
}

unsigned long long run(pv_detector detector, unsigned frames) {
  unsigned long long found = 0;
  for (unsigned index = 0; index < frames; ++index) {
    draw(index);
    pv_frame frame{};
    frame.data = pixels;
    frame.type = index % 5 == 4 ? PV_U8 : PV_U16;
    frame.height = frame.width = index % 2 == 0 ? kSide : 32;
    frame.row_bytes = kSide * static_cast<int>(sizeof(pixels[0]));
    frame.id = index;
    require(pv_submit(detector, &frame));
    pv_target targets[256];
    pv_result result;
    require(pv_poll(detector, 1, targets, 256, &result));
    found += static_cast<unsigned long long>(result.count);
  }
  return found;
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) return 2;
  pv_options options{};
  options.version = PV_VERSION;
  options.device = words[2];
  options.half = -1;
  options.threshold = -1.0;
  pv_detector detector;
  require(pv_open(words[1], &options, &detector));
  run(detector, 10);
  pv_info before, after;
  require(pv_describe(detector, &before));
  const unsigned long long earlier = asked;
  const unsigned long long found = run(detector, static_cast<unsigned>(std::atoi(words[3])));
  const unsigned long long later = asked;
  require(pv_describe(detector, &after));
  std::printf("{\"before\": %llu, \"asked\": %llu, \"blocks\": %llu, \"found\": %llu}\n", earlier, later - earlier,
              static_cast<unsigned long long>(after.allocations - before.allocations), found);
  require(pv_close(detector));
}
