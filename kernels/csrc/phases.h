// SPDX-License-Identifier: Apache-2.0
// One kernel body for two compilers: phases between barriers.
//
// A kernel is a struct K : PhaseDefaults with
//   Args      POD, copied to the device at the launch
//   Shared    memory of a block, POD; more of it than sizeof(Shared) by shared_bytes(args)
//   State     what one thread keeps between two barriers (registers), default constructible
//   kThreads  threads of a block, a multiple of 32;  kPhases  number of phases
//   template <int P> PV_HD static void phase(const Args&, Index block, int thread, State&, Shared&)
// and, where the defaults do not fit, kLoopBegin, kLoopEnd and loop_count.
// All threads of a block finish phase P before one begins phase P + 1. A thread must not read in a phase what another
// thread writes in the same phase. Phases kLoopBegin to kLoopEnd - 1 are run loop_count(args, block) times in turn.
// nvcc makes a __global__ function of it (launch_phases), any C++17 compiler a loop over blocks, phases, threads
// (run_on_host).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

// Hints to nvcc before a loop. Where it unrolls at will, it takes more registers than there are and spills some.
#ifdef __CUDACC__
#define PV_HD __host__ __device__ __forceinline__
#define PV_UNROLL _Pragma("unroll")
#define PV_UNROLL_TWICE _Pragma("unroll 2")
#define PV_NO_UNROLL _Pragma("unroll 1")
#else
#define PV_HD inline __attribute__((always_inline))
#define PV_UNROLL
#define PV_UNROLL_TWICE
#define PV_NO_UNROLL
#endif

namespace pitviper {

struct Index {
  int x = 0, y = 0, z = 0;
};

// What a launch answers. The text is a string constant; no exception leaves a launch.
struct Status {
  enum Code { kOk = 0, kBadArgument = 1, kUnavailable = 2, kDeviceError = 3 };
  Code code = kOk;
  const char* text = "";
  bool ok() const { return code == kOk; }
};

struct PhaseDefaults {
  static constexpr int kLoopBegin = 0;
  static constexpr int kLoopEnd = 0;
  template <typename Args>
  PV_HD static int loop_count(const Args&, Index) {
    return 1;
  }
};

// Bytes of a block's memory: K::shared_bytes(args) where the kernel has it, else the size of its Shared.
template <typename K, typename = void>
struct SharedSize {
  static std::size_t of(const typename K::Args&) { return sizeof(typename K::Shared); }
};
template <typename K>
struct SharedSize<K, std::void_t<decltype(&K::shared_bytes)>> {
  static std::size_t of(const typename K::Args& args) { return K::shared_bytes(args); }
};

// Adds to a word that several threads of a launch write; returns what was there. On the host the threads take turns.
template <typename T>
PV_HD T atomic_add(T* word, T value) {
#ifdef __CUDA_ARCH__
  return atomicAdd(word, value);
#else
  const T before = *word;
  *word = static_cast<T>(before + value);
  return before;
#endif
}

namespace phases {

// Whether the threads of this host thread's launches take turns from the last to the first. A result that depends on it
// comes from a thread that reads what another writes in the same phase: on a GPU, a race.
inline bool& last_thread_first() {
  static thread_local bool value = false;
  return value;
}

template <typename K, int P, int End>
void host_range(const typename K::Args& args, Index block, typename K::State* states, typename K::Shared& shared) {
  if constexpr (P < End) {
    const int begin = last_thread_first() ? K::kThreads - 1 : 0, step = last_thread_first() ? -1 : 1;
    for (int turn = 0, thread = begin; turn < K::kThreads; ++turn, thread += step)
      K::template phase<P>(args, block, thread, states[thread], shared);
    host_range<K, P + 1, End>(args, block, states, shared);
  }
}

// Memory of the calling thread that only ever grows, so that a launch allocates nothing once it has run.
inline unsigned char* host_scratch(std::size_t bytes, int which) {
  static thread_local std::vector<std::max_align_t> kept[2];
  std::vector<std::max_align_t>& words = kept[which];
  const std::size_t count = bytes / sizeof(std::max_align_t) + 1;
  if (words.size() < count) words.resize(count);
  return reinterpret_cast<unsigned char*>(words.data());
}

}  // namespace phases

// Runs the kernel on the calling thread. Each block starts with memory of 0xff bytes (NaN in every floating type), so
// that a read of what no phase wrote shows. Throws std::bad_alloc on the first run of a size only.
template <typename K>
void run_on_host(const typename K::Args& args, Index grid) {
  using State = typename K::State;
  static_assert(std::is_trivially_destructible_v<State>, "states are placed in reused memory");
  const std::size_t bytes = SharedSize<K>::of(args);
  unsigned char* const memory = phases::host_scratch(bytes, 0);
  State* const states = reinterpret_cast<State*>(phases::host_scratch(sizeof(State) * K::kThreads, 1));
  auto& shared = *reinterpret_cast<typename K::Shared*>(memory);
  Index block;
  for (block.z = 0; block.z < grid.z; ++block.z) {
    for (block.y = 0; block.y < grid.y; ++block.y) {
      for (block.x = 0; block.x < grid.x; ++block.x) {
        std::memset(memory, 0xff, bytes);
        for (int thread = 0; thread < K::kThreads; ++thread) new (states + thread) State();
        phases::host_range<K, 0, K::kLoopBegin>(args, block, states, shared);
        const int turns = K::loop_count(args, block);
        for (int turn = 0; turn < turns; ++turn)
          phases::host_range<K, K::kLoopBegin, K::kLoopEnd>(args, block, states, shared);
        phases::host_range<K, K::kLoopEnd, K::kPhases>(args, block, states, shared);
      }
    }
  }
}

// Where an operation's launches go, as launch_all of each operation takes it: OnHost here, OnStream in phases_cuda.h.
struct OnHost {
  template <typename K>
  Status launch(const typename K::Args& args, Index grid) const {
    try {
      run_on_host<K>(args, grid);
    } catch (const std::bad_alloc&) {
      return {Status::kUnavailable, "out of memory"};
    }
    return {};
  }
};

}  // namespace pitviper
