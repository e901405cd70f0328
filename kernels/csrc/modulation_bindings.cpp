// SPDX-License-Identifier: Apache-2.0
// Binds addresses and sizes of the kernels of affine_modulate and samf_fuse. All addresses are host memory, but with a
// stream.
#include "modulation_bindings.h"

#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <stdexcept>
#include <type_traits>

#include "affine_modulate.h"
#include "binding_arguments.h"
#include "samf_fuse.h"

namespace py = pybind11;

namespace pitviper {
namespace {

using binding::address;
using binding::value;

// A stream (a cudaStream_t): the launch is queued on it, and every address is device memory.
using Stream = std::optional<std::uintptr_t>;

template <typename Args>
void run(const Args& args, Stream stream, Status (*on_host)(const Args&)) {
  const py::gil_scoped_release released;
  if (!stream) return binding::require(on_host(args));
#ifdef PITVIPER_CUDA_ARCHITECTURES
  void* const queue = reinterpret_cast<void*>(*stream);
  if constexpr (std::is_same_v<Args, AffineModulateArgs>) {
    binding::require(affine_modulate::launch_cuda(args, queue));
  } else {
    binding::require(samf_fuse::launch_cuda(args, queue));
  }
#else
  throw std::runtime_error("the module was built without nvcc");
#endif
}

template <typename Args>
Args common(const py::dict& given) {
  Args args;
  args.dtype = static_cast<Dtype>(value<int>(given, "dtype"));
  const auto shape = value<std::array<int, 4>>(given, "shape");
  args.batch = shape[0];
  args.height = shape[1];
  args.width = shape[2];
  args.channels = shape[3];
  args.features = address(given, "features");
  return args;
}

void affine(const py::dict& given, Stream stream) {
  auto args = common<AffineModulateArgs>(given);
  args.strength = value<float>(given, "strength");
  args.per_pixel = value<bool>(given, "per_pixel");
  args.relu = value<bool>(given, "relu");
  args.gamma = address(given, "gamma");
  args.beta = address(given, "beta");
  args.residual = address(given, "residual");
  args.output = address(given, "output");
  run(args, stream, &affine_modulate::launch_host);
}

void split(const py::dict& given, Stream stream) {
  auto args = common<SamfSplitArgs>(given);
  const auto prior = value<std::array<int, 2>>(given, "prior_size");
  args.prior_height = prior[0];
  args.prior_width = prior[1];
  args.scale = address(given, "scale");
  args.shift = address(given, "shift");
  args.first = address(given, "first");
  args.second = address(given, "second");
  run<std::decay_t<decltype(args)>>(args, stream, &samf_fuse::launch_host);
}

void join(const py::dict& given, Stream stream) {
  auto args = common<SamfJoinArgs>(given);
  args.first = address(given, "first");
  args.second = address(given, "second");
  args.output = address(given, "output");
  run<std::decay_t<decltype(args)>>(args, stream, &samf_fuse::launch_host);
}

}  // namespace

void bind_modulation_phases(py::module_& m) {
  m.def("affine_modulate_phases", &affine, py::arg("arguments"), py::arg("stream") = py::none());
  m.def("samf_split_phases", &split, py::arg("arguments"), py::arg("stream") = py::none());
  m.def("samf_join_phases", &join, py::arg("arguments"), py::arg("stream") = py::none());
}

}  // namespace pitviper
