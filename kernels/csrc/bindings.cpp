// SPDX-License-Identifier: Apache-2.0
// Binds addresses and sizes. Shapes, types and strides are checked in Python, in the op.py of each operation.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <vector>

#include "conv_bindings.h"
#include "cuda_archs.h"
#include "cuda_support.h"
#include "extract_targets_host.h"
#include "frame_bindings.h"
#include "modulation_bindings.h"
#include "runtime_bindings.h"
#include "standardise_host.h"

namespace py = pybind11;

namespace {

using Shape = std::array<std::ptrdiff_t, 2>;

pitviper::Frame frame_at(std::uintptr_t address, char type, const Shape& shape, std::ptrdiff_t row_bytes) {
  return {reinterpret_cast<const void*>(address), type, shape[0], shape[1], row_bytes};
}

template <typename Value>
py::array_t<Value> rows_of(const std::vector<Value>& values, py::ssize_t columns) {
  if (columns == 1) return py::array_t<Value>(static_cast<py::ssize_t>(values.size()), values.data());
  const py::ssize_t rows = static_cast<py::ssize_t>(values.size()) / columns;
  return py::array_t<Value>({rows, columns}, values.data());
}

std::int64_t count_nonfinite(std::uintptr_t address, char type, const Shape& shape, std::ptrdiff_t row_bytes) {
  const py::gil_scoped_release released;
  return pitviper::count_nonfinite(frame_at(address, type, shape, row_bytes));
}

void standardise(std::uintptr_t address, char type, const Shape& shape, std::ptrdiff_t row_bytes, std::uintptr_t out,
                 const Shape& out_shape, const std::tuple<double, double, int>& rule) {
  const py::gil_scoped_release released;
  pitviper::standardise(frame_at(address, type, shape, row_bytes),
                        {reinterpret_cast<float*>(out), out_shape[0], out_shape[1]},
                        {std::get<0>(rule), std::get<1>(rule), std::get<2>(rule)});
}

py::tuple extract_targets(std::uintptr_t address, const Shape& shape, std::ptrdiff_t row_bytes,
                          const std::tuple<std::uintptr_t, char, std::ptrdiff_t>& frame, double threshold,
                          std::int64_t max_targets, const std::tuple<int, int, int, double>& rule) {
  pitviper::TargetTable table;
  {
    const py::gil_scoped_release released;
    const pitviper::View<float> map{reinterpret_cast<const float*>(address), shape[0], shape[1], row_bytes};
    table = pitviper::extract_targets(map, frame_at(std::get<0>(frame), std::get<1>(frame), shape, std::get<2>(frame)),
                                      threshold, max_targets,
                                      {std::get<0>(rule), std::get<1>(rule), std::get<2>(rule), std::get<3>(rule)});
  }
  return py::make_tuple(table.nonfinite, table.total, rows_of(table.xy, 2), rows_of(table.xyxy, 4),
                        rows_of(table.area, 1), rows_of(table.peak, 1), rows_of(table.mean, 1), rows_of(table.snr, 1));
}

std::string cuda_missing_reason() {
#ifdef PITVIPER_CUDA_ARCHITECTURES
  return pitviper::cuda_support::missing_reason();
#else
  return "the module was built without nvcc";
#endif
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.attr("__version__") = PITVIPER_VERSION;
  m.def("cuda_archs", &pitviper::cuda_archs);
  m.def("cuda_missing_reason", &cuda_missing_reason);
  pitviper::bind_convolutions(m);
  pitviper::bind_runtime(m);
  pitviper::bind_frame_phases(m);
  pitviper::bind_modulation_phases(m);
  m.def("count_nonfinite", &count_nonfinite, py::arg("address"), py::arg("type"), py::arg("shape"),
        py::arg("row_bytes"));
  m.def("standardise", &standardise, py::arg("address"), py::arg("type"), py::arg("shape"), py::arg("row_bytes"),
        py::arg("out"), py::arg("out_shape"), py::arg("rule"));
  m.def("extract_targets", &extract_targets, py::arg("address"), py::arg("shape"), py::arg("row_bytes"),
        py::arg("frame"), py::arg("threshold"), py::arg("max_targets"), py::arg("rule"));
}
