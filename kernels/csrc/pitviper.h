/* SPDX-License-Identifier: Apache-2.0
 *
 * pitviper for C and C++: raw frames in, targets out. No Python, no torch.
 *
 *   pv_detector detector;
 *   pv_open("pit-s.plan", NULL, &detector);
 *   pv_submit(detector, &frame);
 *   pv_poll(detector, 1, targets, 64, &result);
 *   pv_close(detector);
 *
 * A plan file is written in Python: pitviper.core.plan.build_plan(pitviper.sdk.open_model("pit-s")).to_bytes().
 *
 * Threads: every function may be called from any thread. Calls on one detector take turns, and a waiting pv_poll lets
 * no other call on the same detector in. One thread that submits and polls in turn is the intended use. Detectors share
 * nothing. pv_last_error belongs to the calling thread.
 *
 * Errors: every function returns a status; pv_last_error has the sentence. No function throws, exits or prints.
 *
 * Memory: everything is allocated by pv_open and by the first frame of a larger shape (or by pv_prepare). After that
 * pv_submit and pv_poll allocate nothing, but for a GPU's launches: they are recorded as a graph, which the first frame
 * of a shape, type and threshold makes in each of the two places for a frame in flight. That frame runs twice.
 */
#ifndef PITVIPER_H
#define PITVIPER_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define PV_API
#else
#define PV_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define PV_VERSION 1 /* of this interface; pv_open refuses another one */

typedef enum pv_status {
  PV_OK = 0,
  PV_ARGUMENT = 1, /* an argument is missing or out of range */
  PV_PLAN = 2,     /* the file is no plan, is damaged, or was written for another version */
  PV_FRAME = 3,    /* the frame's type, shape, stride or values cannot be used */
  PV_DEVICE = 4,   /* the device is not there, or failed */
  PV_MEMORY = 5,   /* not enough memory; the detector stays usable for smaller frames */
  PV_CLOSED = 6,   /* the detector was closed, or never opened */
  PV_BUSY = 7,     /* two frames are in flight; poll one first */
  PV_EMPTY = 8,    /* no frame is in flight, or with wait = 0 none is finished */
  PV_NETWORK = 9   /* the network gave values that are no numbers */
} pv_status;

typedef enum pv_type { PV_U8 = 1, PV_U16 = 2, PV_F16 = 3, PV_F32 = 4 } pv_type;

typedef enum pv_place {
  PV_PAGEABLE = 0, /* ordinary memory: read before pv_submit returns */
  PV_PINNED = 1,   /* page-locked memory: may be read until pv_poll returns this frame */
  PV_GPU = 2       /* memory of the detector's device: may be read until pv_poll returns this frame */
} pv_place;

/* Opaque, never reused: a closed detector is refused, not followed. 0 is none. */
typedef uint64_t pv_detector;

typedef struct pv_options {
  int version;        /* PV_VERSION */
  const char* device; /* "cpu" (default), "cuda:0", ..., or "host": the GPU's kernels run on the CPU, for proof */
  int half;           /* 1: maps and weights in fp16 (default on a GPU), 0: fp32, -1: the device's default */
  double
      threshold;   /* probability that a pixel has to exceed; 2^-16 to below 1; negative: the model's operating point */
  int max_targets; /* of one frame, those with the highest peaks; 1 to 65535, 0: 256 */
  /* Where host memory for maps and weights comes from; both or none. allocate returns 64-byte aligned memory or NULL.
   */
  void* (*allocate)(size_t bytes, void* context);
  void (*release)(void* memory, void* context);
  void* context;
} pv_options;

typedef struct pv_frame {
  const void* data; /* first pixel of the first row */
  pv_type type;
  int height; /* at least 32, like width */
  int width;
  ptrdiff_t row_bytes; /* from one row to the next; 0: rows are adjacent; negative: the last row comes first */
  pv_place place;
  void* stream; /* cudaStream_t whose earlier work writes the frame, or NULL; for PV_GPU and PV_PINNED */
  uint64_t id;  /* comes back with the result */
} pv_frame;

/* Pixels; the centre of the pixel in row r and column c is (c + 0.5, r + 0.5), boxes are half open. */
typedef struct pv_target {
  double x; /* centroid, weighted by probability */
  double y;
  int32_t left;
  int32_t top;
  int32_t right;
  int32_t bottom;
  int32_t area; /* pixels above the threshold */
  float peak;   /* highest probability */
  float mean;   /* mean probability */
  float snr;    /* contrast to the surroundings in noise deviations, NaN if it cannot be told */
} pv_target;

typedef struct pv_result {
  uint64_t id;
  int32_t height;
  int32_t width;
  int32_t count; /* targets written to the array */
  int32_t found; /* components in the frame; more than count: the weakest were left out */
} pv_result;

/* What the times of pv_profile are taken by. */
typedef enum pv_clock {
  PV_WALL_CLOCK = 0, /* the processor's clock: the launch ran in the calling thread */
  PV_CUDA_EVENTS = 1 /* events of the GPU, before and behind the launch */
} pv_clock;

/* One operation of a frame. */
typedef struct pv_launch {
  char operation[32]; /* standardise, conv_block, residual_block or extract_targets */
  int channels;       /* of the map that its convolution gives; 1 before and behind */
  double ms;
} pv_launch;

typedef struct pv_info {
  char model[64];
  char architecture[64];
  char device[96];
  int stride;   /* frames are padded to multiples of it, inside */
  int half;     /* 1 where maps are fp16 */
  int launches; /* of the network, for one frame */
  double threshold;
  uint64_t allocations; /* blocks that this detector has asked for since pv_open, on host and device */
  uint64_t bytes;       /* of the blocks that it holds */
} pv_info;

/* The version of the library, and the sentence of the last error in this thread (empty after none). Never NULL. */
PV_API const char* pv_version(void);
PV_API const char* pv_last_error(void);

/* Opens a plan file, or one in memory (which is copied). options may be NULL. */
PV_API pv_status pv_open(const char* path, const pv_options* options, pv_detector* detector);
PV_API pv_status pv_open_memory(const void* plan, size_t bytes, const pv_options* options, pv_detector* detector);

/* Allocates for frames of this shape, so that the first one does not. Waits for frames in flight. On a GPU the first
 * two frames are slower all the same: they record their launches. */
PV_API pv_status pv_prepare(pv_detector detector, int height, int width);

/* Begins a frame. Up to two may be in flight; a CPU finishes it before returning. */
PV_API pv_status pv_submit(pv_detector detector, const pv_frame* frame);

/* Takes the result of the oldest frame in flight: up to `capacity` targets, in raster order, with wait != 0 when it is
 * finished. PV_FRAME and PV_NETWORK end the frame as well. */
PV_API pv_status pv_poll(pv_detector detector, int wait, pv_target* targets, int capacity, pv_result* result);

/* The probability of every pixel of the frame polled last, float[height * width]. PV_EMPTY once another was submitted.
 */
PV_API pv_status pv_map(pv_detector detector, float* probability, size_t count);

/* Runs one frame operation by operation, as pv_submit would but not from its graph, and writes the time of each in the
 * order in which they ran; its targets are not kept. The first frame of a shape is slower than the others. Takes as
 * many times as pv_info says launches, and two: standardise before them, extract_targets behind. PV_BUSY with a frame
 * in flight. */
PV_API pv_status pv_profile(pv_detector detector, const pv_frame* frame, pv_launch* launches, int capacity, int* count,
                            pv_clock* clock);

/* For the frames that are submitted from now on. On a GPU the next two record their launches anew, so a threshold is no
 * value to change with every frame. */
PV_API pv_status pv_set_threshold(pv_detector detector, double threshold);
PV_API pv_status pv_describe(pv_detector detector, pv_info* info);

/* Waits for what is in flight and lets go of everything. */
PV_API pv_status pv_close(pv_detector detector);

#ifdef __cplusplus
}
#endif
#endif /* PITVIPER_H */
