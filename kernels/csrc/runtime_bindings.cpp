// SPDX-License-Identifier: Apache-2.0
// Binds addresses; runtime.py checks shapes, types and strides. A failed call raises RuntimeFailure(code, sentence).
#include "runtime_bindings.h"

#include <pybind11/numpy.h>

#include <vector>

#include "runtime.h"

namespace py = pybind11;

namespace pitviper {
namespace {

PyObject* failure = nullptr;

void require(pv_status status) {
  if (status == PV_OK) return;
  const py::object values = py::make_tuple(static_cast<int>(status), pv_last_error());
  PyErr_SetObject(failure, values.ptr());
  throw py::error_already_set();
}

// Without the interpreter's lock, since a call may wait for another thread's on the same detector.
template <typename Call>
pv_status unlocked(const Call& call) {
  const py::gil_scoped_release released;
  return call();
}

pv_detector open(const py::bytes& plan, const std::string& device, int half, double threshold, int max_targets) {
  pv_options options{};
  options.version = PV_VERSION;
  options.device = device.c_str();
  options.half = half;
  options.threshold = threshold;
  options.max_targets = max_targets;
  char* content = nullptr;
  py::ssize_t bytes = 0;
  PyBytes_AsStringAndSize(plan.ptr(), &content, &bytes);
  pv_detector detector = 0;
  require(unlocked([&] { return pv_open_memory(content, static_cast<std::size_t>(bytes), &options, &detector); }));
  return detector;
}

void prepare(pv_detector detector, int height, int width) {
  require(unlocked([&] { return pv_prepare(detector, height, width); }));
}

using Layout = std::tuple<int, int, int, std::ptrdiff_t>;

pv_frame frame_of(std::uintptr_t address, const Layout& layout, int place, std::uintptr_t stream, std::uint64_t id) {
  const auto [type, height, width, row_bytes] = layout;
  return {reinterpret_cast<const void*>(address), static_cast<pv_type>(type),      height, width, row_bytes,
          static_cast<pv_place>(place),           reinterpret_cast<void*>(stream), id};
}

void submit(pv_detector detector, std::uintptr_t address, const Layout& layout, int place, std::uintptr_t stream,
            std::uint64_t id) {
  const pv_frame frame = frame_of(address, layout, place, stream, id);
  require(unlocked([&] { return pv_submit(detector, &frame); }));
}

// id, shape, found, then xy, xyxy, area, peak, mean, snr; None where no frame is finished.
py::object poll(pv_detector detector, bool wait, int capacity) {
  std::vector<pv_target> targets(static_cast<std::size_t>(capacity));
  pv_result result{};
  const pv_status status = unlocked([&] { return pv_poll(detector, wait, targets.data(), capacity, &result); });
  if (status == PV_EMPTY && !wait) return py::none();
  require(status);
  const py::ssize_t count = result.count;
  py::array_t<double> xy({count, py::ssize_t{2}});
  py::array_t<float> xyxy({count, py::ssize_t{4}}), peak(count), mean(count), snr(count);
  py::array_t<std::int32_t> area(count);
  for (py::ssize_t i = 0; i < count; ++i) {
    const pv_target& target = targets[static_cast<std::size_t>(i)];
    xy.mutable_at(i, 0) = target.x;
    xy.mutable_at(i, 1) = target.y;
    xyxy.mutable_at(i, 0) = static_cast<float>(target.left);
    xyxy.mutable_at(i, 1) = static_cast<float>(target.top);
    xyxy.mutable_at(i, 2) = static_cast<float>(target.right);
    xyxy.mutable_at(i, 3) = static_cast<float>(target.bottom);
    area.mutable_at(i) = target.area;
    peak.mutable_at(i) = target.peak;
    mean.mutable_at(i) = target.mean;
    snr.mutable_at(i) = target.snr;
  }
  return py::make_tuple(result.id, py::make_tuple(result.height, result.width), result.found, xy, xyxy, area, peak,
                        mean, snr);
}

void map(pv_detector detector, std::uintptr_t to, std::size_t count) {
  require(unlocked([&] { return pv_map(detector, reinterpret_cast<float*>(to), count); }));
}

// Whether the times are the device's, then operation, channels and milliseconds of each.
py::tuple profile(pv_detector detector, std::uintptr_t address, const Layout& layout, int place, std::uintptr_t stream,
                  int capacity) {
  const pv_frame frame = frame_of(address, layout, place, stream, 0);
  std::vector<pv_launch> launches(static_cast<std::size_t>(capacity));
  int count = 0;
  pv_clock clock = PV_WALL_CLOCK;
  require(unlocked([&] { return pv_profile(detector, &frame, launches.data(), capacity, &count, &clock); }));
  py::list told;
  for (int i = 0; i < count; ++i) {
    const pv_launch& launch = launches[static_cast<std::size_t>(i)];
    told.append(py::make_tuple(launch.operation, launch.channels, launch.ms));
  }
  return py::make_tuple(clock == PV_CUDA_EVENTS, told);
}

void run_network(pv_detector detector, std::uintptr_t from, std::uintptr_t to, int height, int width, bool log_odds) {
  const MapKind kind = log_odds ? MapKind::kLogOdds : MapKind::kProbability;
  require(unlocked([&] {
    return network(detector, reinterpret_cast<const float*>(from), height, width, kind, reinterpret_cast<float*>(to));
  }));
}

py::dict describe(pv_detector detector) {
  pv_info info{};
  require(unlocked([&] { return pv_describe(detector, &info); }));
  using namespace py::literals;
  return py::dict("model"_a = info.model, "architecture"_a = info.architecture, "device"_a = info.device,
                  "stride"_a = info.stride, "half"_a = info.half != 0, "launches"_a = info.launches,
                  "threshold"_a = info.threshold, "allocations"_a = info.allocations, "bytes"_a = info.bytes);
}

}  // namespace

void bind_runtime(py::module_& m) {
  failure = PyErr_NewException("pitviper.kernels._native.RuntimeFailure", PyExc_RuntimeError, nullptr);
  m.add_object("RuntimeFailure", py::reinterpret_borrow<py::object>(failure));
  m.def("runtime_open", &open, py::arg("plan"), py::arg("device"), py::arg("half"), py::arg("threshold"),
        py::arg("max_targets"));
  m.def("runtime_prepare", &prepare, py::arg("handle"), py::arg("height"), py::arg("width"));
  m.def("runtime_submit", &submit, py::arg("handle"), py::arg("address"), py::arg("layout"), py::arg("place"),
        py::arg("stream"), py::arg("id"));
  m.def("runtime_poll", &poll, py::arg("handle"), py::arg("wait"), py::arg("capacity"));
  m.def("runtime_map", &map, py::arg("handle"), py::arg("address"), py::arg("count"));
  m.def("runtime_network", &run_network, py::arg("handle"), py::arg("address"), py::arg("out"), py::arg("height"),
        py::arg("width"), py::arg("log_odds"));
  m.def("runtime_profile", &profile, py::arg("handle"), py::arg("address"), py::arg("layout"), py::arg("place"),
        py::arg("stream"), py::arg("capacity"));
  m.def(
      "runtime_set_threshold",
      [](pv_detector detector, double threshold) {
        require(unlocked([&] { return pv_set_threshold(detector, threshold); }));
      },
      py::arg("handle"), py::arg("threshold"));
  m.def("runtime_describe", &describe, py::arg("handle"));
  m.def(
      "runtime_close", [](pv_detector detector) { require(unlocked([&] { return pv_close(detector); })); },
      py::arg("handle"));
}

}  // namespace pitviper
