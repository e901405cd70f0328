// SPDX-License-Identifier: Apache-2.0
// Binds addresses and sizes of the frame operations' kernel bodies. All addresses are host memory, but with a stream.
#include "frame_bindings.h"

#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <vector>

#include "binding_arguments.h"
#include "extract_targets.h"

namespace py = pybind11;

namespace pitviper {
namespace {

using binding::address;
using binding::value;

// A stream (a cudaStream_t): the launches are queued on it, and every address is device memory.
using Stream = std::optional<std::uintptr_t>;

template <typename Args>
void run(const Args& args, bool on_gpu, Stream stream, Status (*on_host)(const Args&)) {
  const py::gil_scoped_release released;
  if (!on_gpu && !stream) return binding::require(on_host(args));
#ifdef PITVIPER_CUDA_ARCHITECTURES
  void* queue = reinterpret_cast<void*>(stream.value_or(0));
  if constexpr (std::is_same_v<Args, StandardiseArgs>) {
    binding::require(stream ? standardiser::launch_cuda(args, queue) : standardiser::run_cuda(args));
  } else {
    binding::require(stream ? extractor::launch_cuda(args, queue) : extractor::run_cuda(args));
  }
#else
  throw std::runtime_error("the module was built without nvcc");
#endif
}

StandardiseArgs standardise_args(const py::dict& given) {
  StandardiseArgs args;
  args.frames = address(given, "frames");
  args.type = value<char>(given, "type");
  const auto shape = value<std::array<int, 3>>(given, "shape");
  args.batch = shape[0];
  args.height = shape[1];
  args.width = shape[2];
  const auto strides = value<std::array<std::ptrdiff_t, 2>>(given, "strides");
  args.frame_bytes = strides[0];
  args.row_bytes = strides[1];
  args.output = address(given, "output");
  args.out_dtype = static_cast<Dtype>(value<int>(given, "out_dtype"));
  const auto out_shape = value<std::array<int, 2>>(given, "out_shape");
  args.out_height = out_shape[0];
  args.out_width = out_shape[1];
  args.block = value<int>(given, "block");
  args.channels = value<int>(given, "channels");
  const auto rule = value<std::tuple<double, double, int>>(given, "rule");
  args.rule = {std::get<0>(rule), std::get<1>(rule), std::get<2>(rule)};
  args.statistics = static_cast<FrameStatistics*>(address(given, "statistics"));
  args.workspace = address(given, "workspace");
  args.workspace_bytes = value<std::size_t>(given, "workspace_bytes");
  return args;
}

HeadSource source_of(const py::dict& given) {
  HeadSource source;
  source.map = address(given, "map");
  const auto shape = value<std::array<int, 3>>(given, "shape");
  source.rows = shape[0];
  source.columns = shape[1];
  source.channels = shape[2];
  source.factor = value<int>(given, "factor");
  source.weight = static_cast<const float*>(address(given, "weight"));
  source.bias = static_cast<const float*>(address(given, "bias"));
  return source;
}

ExtractTargetsArgs extract_args(const py::dict& given) {
  ExtractTargetsArgs args;
  args.input = static_cast<ExtractTargetsArgs::Input>(value<int>(given, "input"));
  args.dtype = static_cast<Dtype>(value<int>(given, "dtype"));
  const auto shape = value<std::array<int, 3>>(given, "shape");
  args.batch = shape[0];
  args.height = shape[1];
  args.width = shape[2];
  args.map = address(given, "map");
  const auto strides = value<std::array<std::ptrdiff_t, 2>>(given, "strides");
  args.map_bytes = strides[0];
  args.row_bytes = strides[1];
  const auto sources = value<std::vector<py::dict>>(given, "sources");
  if (sources.size() > 2) throw std::invalid_argument("there are at most two sources");
  for (std::size_t k = 0; k < sources.size(); ++k) args.sources[k] = source_of(sources[k]);
  args.threshold = value<double>(given, "threshold");
  args.capacity = value<int>(given, "capacity");
  args.frames = address(given, "frames");
  args.frame_type = value<char>(given, "frame_type");
  const auto frame_strides = value<std::array<std::ptrdiff_t, 2>>(given, "frame_strides");
  args.frame_bytes = frame_strides[0];
  args.frame_row_bytes = frame_strides[1];
  args.statistics = static_cast<const FrameStatistics*>(address(given, "statistics"));
  const auto rule = value<std::tuple<int, int, int, double>>(given, "rule");
  args.rule = {std::get<0>(rule), std::get<1>(rule), std::get<2>(rule), std::get<3>(rule)};
  args.output = address(given, "output");
  args.workspace = address(given, "workspace");
  args.workspace_bytes = value<std::size_t>(given, "workspace_bytes");
  return args;
}

}  // namespace

void bind_frame_phases(py::module_& m) {
  m.def(
      "standardise_phases",
      [](const py::dict& given, bool on_gpu, Stream stream) {
        run(standardise_args(given), on_gpu, stream, &standardiser::launch_host);
      },
      py::arg("arguments"), py::arg("on_gpu"), py::arg("stream") = py::none());
  m.def(
      "standardise_phases_bytes",
      [](const py::dict& given) { return standardiser::workspace_bytes(standardise_args(given)); },
      py::arg("arguments"));
  m.def(
      "extract_targets_phases",
      [](const py::dict& given, bool on_gpu, Stream stream) {
        run(extract_args(given), on_gpu, stream, &extractor::launch_host);
      },
      py::arg("arguments"), py::arg("on_gpu"), py::arg("stream") = py::none());
  m.def(
      "extract_targets_phases_bytes",
      [](const py::dict& given) {
        const ExtractTargetsArgs args = extract_args(given);
        return std::pair(extractor::workspace_bytes(args), extractor::output_bytes(args.capacity));
      },
      py::arg("arguments"));
}

}  // namespace pitviper
