// SPDX-License-Identifier: Apache-2.0
// Targets in the raw 16-bit frames of a camera: camera PLAN WIDTH HEIGHT [DEVICE] < frames.
// Frames come from standard input one after another; the loop of your camera's library takes the place of `read`.
#include <pitviper.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

// Ends the program with the sentence of what went wrong.
void require(pv_status status) {
  if (status == PV_OK) return;
  std::fprintf(stderr, "camera: %s\n", pv_last_error());
  std::exit(1);
}

void report(pv_detector detector, std::vector<pv_target>& targets) {
  pv_result result;
  require(pv_poll(detector, 1, targets.data(), static_cast<int>(targets.size()), &result));
  for (int i = 0; i < result.count; ++i) {
    const pv_target& target = targets[static_cast<std::size_t>(i)];
    std::printf("frame %llu  x %.2f  y %.2f  area %d  score %.3f  snr %.1f\n",
                static_cast<unsigned long long>(result.id), target.x, target.y, target.area, target.peak, target.snr);
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 4) {
    std::fprintf(stderr, "usage: camera PLAN WIDTH HEIGHT [DEVICE] < frames\n");
    return 2;
  }
  const int width = std::atoi(words[2]), height = std::atoi(words[3]);
  pv_options options{};
  options.version = PV_VERSION;
  options.device = count > 4 ? words[4] : "cpu";
  options.half = -1;
  options.threshold = -1.0;
  std::vector<pv_target> targets(256);
  options.max_targets = static_cast<int>(targets.size());

  pv_detector detector;
  require(pv_open(words[1], &options, &detector));
  require(pv_prepare(detector, height, width));

  // Two frames in flight: while one is computed, the next is read.
  std::vector<std::uint16_t> buffers[2];
  for (std::vector<std::uint16_t>& buffer : buffers) buffer.resize(static_cast<std::size_t>(width) * height);
  std::uint64_t begun = 0, done = 0;
  for (;; ++begun) {
    std::vector<std::uint16_t>& buffer = buffers[begun % 2];
    if (std::fread(buffer.data(), sizeof(buffer[0]), buffer.size(), stdin) != buffer.size()) break;
    if (begun - done == 2) {
      report(detector, targets);
      ++done;
    }
    pv_frame frame{};
    frame.data = buffer.data();
    frame.type = PV_U16;
    frame.height = height;
    frame.width = width;
    frame.id = begun;
    require(pv_submit(detector, &frame));
  }
  for (; done < begun; ++done) report(detector, targets);
  require(pv_close(detector));
}
