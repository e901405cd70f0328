/* SPDX-License-Identifier: Apache-2.0
 * plain_c PLAN: the header is C, and what goes wrong is a code with a sentence. Prints one line for each case. */
#include <pitviper.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int granted;

/* Memory for the first `granted` requests. */
static void* allocate(size_t bytes, void* context) {
  (void)context;
  if (granted-- <= 0) return NULL;
  return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void release(void* memory, void* context) {
  (void)context;
  free(memory);
}

static void say(const char* what, pv_status status) { printf("%s|%d|%s\n", what, (int)status, pv_last_error()); }

static pv_frame frame_of(const void* data, pv_type type, int side, ptrdiff_t row_bytes) {
  pv_frame frame;
  memset(&frame, 0, sizeof(frame));
  frame.data = data;
  frame.type = type;
  frame.height = frame.width = side;
  frame.row_bytes = row_bytes;
  return frame;
}

static pv_status submit(pv_detector detector, const void* data, pv_type type, int side, ptrdiff_t row_bytes) {
  const pv_frame frame = frame_of(data, type, side, row_bytes);
  return pv_submit(detector, &frame);
}

/* The times of a frame, with room for all of them, for too few, and with nowhere to put their number. */
static void profile(pv_detector detector, const float* pixels) {
  const pv_frame frame = frame_of(pixels, PV_F32, 64, 0);
  pv_launch launches[64];
  pv_clock clock = PV_CUDA_EVENTS;
  int count = 0, i, taken = 0;
  say("timed", pv_profile(detector, &frame, launches, 64, &count, &clock));
  for (i = 0; i < count; ++i) taken += launches[i].ms > 0.0;
  printf("times|%d|%d %s\n", clock == PV_WALL_CLOCK && taken == count, count, launches[count - 1].operation);
  say("room", pv_profile(detector, &frame, launches, count - 1, &count, &clock));
  say("nowhere", pv_profile(detector, &frame, launches, 64, NULL, &clock));
}

static void out_of_memory(const char* plan) {
  static unsigned short pixels[64 * 64];
  pv_options options;
  pv_detector detector = 0;
  int limit;
  memset(&options, 0, sizeof(options));
  options.version = PV_VERSION;
  options.half = -1;
  options.threshold = -1.0;
  options.allocate = allocate;
  options.release = release;
  for (limit = 0; limit < 100; ++limit) {
    pv_target targets[256];
    pv_result result;
    pv_status status;
    granted = limit;
    status = pv_open(plan, &options, &detector);
    if (status == PV_OK) status = submit(detector, pixels, PV_U16, 64, 0);
    if (status == PV_MEMORY && detector != 0) {
      /* With memory again the same detector works. */
      granted = 100;
      status = submit(detector, pixels, PV_U16, 64, 0) == PV_OK ? PV_MEMORY : PV_DEVICE;
    }
    if (status == PV_OK) status = pv_poll(detector, 1, targets, 256, &result);
    if (detector != 0) pv_close(detector);
    if (status != PV_MEMORY) break;
  }
  printf("memory|%d|%d\n", granted >= 0, limit);
}

int main(int count, char** words) {
  static float pixels[64 * 64];
  pv_detector detector = 0;
  pv_options options;
  pv_result result;
  pv_info info;
  if (count != 2) return 2;
  memset(&options, 0, sizeof(options));
  say("version", pv_open(words[1], &options, &detector));
  options.version = PV_VERSION;
  options.threshold = -1.0;
  options.device = "cuda:99";
  say("device", pv_open(words[1], &options, &detector));
  options.device = "toaster";
  say("toaster", pv_open(words[1], &options, &detector));
  say("missing", pv_open("no such file", NULL, &detector));
  say("null", pv_open(NULL, NULL, &detector));
  say("never", pv_describe(12345, &info));
  say("open", pv_open(words[1], NULL, &detector));
  say("empty", pv_poll(detector, 1, NULL, 0, &result));
  say("nodata", submit(detector, NULL, PV_F32, 64, 0));
  say("type", submit(detector, pixels, (pv_type)9, 64, 0));
  say("small", submit(detector, pixels, PV_F32, 16, 0));
  say("large", submit(detector, pixels, PV_F32, 1 << 20, 0));
  say("stride", submit(detector, pixels, PV_F32, 64, 100));
  say("odd", submit(detector, (char*)pixels + 1, PV_F32, 32, 0));
  pixels[5] = 1e30f * 1e30f;
  say("submit", submit(detector, pixels, PV_F32, 64, 0));
  say("infinite", pv_poll(detector, 1, NULL, 0, &result));
  pixels[5] = 0.0f;
  profile(detector, pixels);
  say("again", submit(detector, pixels, PV_F32, 64, 0));
  say("second", submit(detector, pixels, PV_F32, 32, 0));
  say("third", submit(detector, pixels, PV_F32, 64, 0));
  say("first", pv_poll(detector, 1, NULL, 0, &result));
  say("map", pv_map(detector, pixels, 5));
  say("threshold", pv_set_threshold(detector, 2.0));
  say("close", pv_close(detector));
  say("closed", pv_close(detector));
  say("used", submit(detector, pixels, PV_F32, 64, 0));
  out_of_memory(words[1]);
  return 0;
}
