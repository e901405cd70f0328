// SPDX-License-Identifier: Apache-2.0
// Binds addresses and sizes of the convolutions. Arrays are checked in Python, arguments again by check().
#include "conv_bindings.h"

#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <type_traits>

#include "conv_weights.h"
#include "residual_block.h"

namespace py = pybind11;

namespace pitviper {
namespace {

using Address = std::uintptr_t;

template <typename T>
const T* read_at(Address address) {
  return reinterpret_cast<const T*>(address);
}
template <typename T>
T* write_at(Address address) {
  return reinterpret_cast<T*>(address);
}

void require(const Status& status) {
  if (status.code == Status::kBadArgument) throw std::invalid_argument(status.text);
  if (!status.ok()) throw std::runtime_error(status.text);
}

void pack(Address weight, int out_channels, int in_channels, int kernel, int dtype, Address packed) {
  pack_weights(read_at<float>(weight), out_channels, in_channels, kernel, static_cast<Dtype>(dtype),
               write_at<void>(packed));
}

void unpack(Address packed, int out_channels, int in_channels, int kernel, int dtype, Address weight) {
  unpack_weights(read_at<void>(packed), out_channels, in_channels, kernel, static_cast<Dtype>(dtype),
                 write_at<float>(weight));
}

Merge merge_of(const py::dict& given) {
  Merge merge;
  merge.mode = given["affine"].cast<bool>() ? Merge::kAffine : Merge::kAdd;
  merge.scale = given["scale"].cast<int>();
  merge.low_channels = given["low_channels"].cast<int>();
  merge.relu = given["relu"].cast<bool>();
  merge.strength = given["strength"].cast<float>();
  merge.low = read_at<void>(given["low"].cast<Address>());
  merge.weight = read_at<void>(given["weight"].cast<Address>());
  merge.bias = read_at<float>(given["bias"].cast<Address>());
  return merge;
}

Head head_of(const py::dict& given) {
  Head head;
  head.outputs = given["outputs"].cast<int>();
  head.weight = read_at<float>(given["weight"].cast<Address>());
  head.bias = read_at<float>(given["bias"].cast<Address>());
  head.coarse_channels = given["coarse_channels"].cast<int>();
  head.coarse = read_at<void>(given["coarse"].cast<Address>());
  head.coarse_weight = read_at<float>(given["coarse_weight"].cast<Address>());
  head.logits = write_at<float>(given["logits"].cast<Address>());
  return head;
}

// What both operations are given in the same words.
template <typename Args>
Args common(const py::dict& given) {
  Args args;
  args.dtype = static_cast<Dtype>(given["dtype"].cast<int>());
  args.frame_dtype = static_cast<Dtype>(given["frame_dtype"].cast<int>());
  args.load = static_cast<Load>(given["load"].cast<int>());
  args.batch = given["batch"].cast<int>();
  args.height = given["height"].cast<int>();
  args.width = given["width"].cast<int>();
  args.in_channels = given["in_channels"].cast<int>();
  args.input = read_at<void>(given["input"].cast<Address>());
  args.output = write_at<void>(given["output"].cast<Address>());
  return args;
}

// Without a stream the calling thread runs the kernel's body on host memory. With one (a cudaStream_t) the launch is
// queued, and every address is device memory.
template <typename Args>
void run(const Args& args, std::optional<Address> stream, Status (*on_host)(const Args&)) {
  const py::gil_scoped_release released;
  if (!stream) return require(on_host(args));
#ifdef PITVIPER_CUDA_ARCHITECTURES
  if constexpr (std::is_same_v<Args, ConvBlockArgs>) {
    require(conv_block::launch_cuda(args, write_at<void>(*stream)));
  } else {
    require(residual_block::launch_cuda(args, write_at<void>(*stream)));
  }
#else
  throw std::runtime_error("the module was built without nvcc");
#endif
}

void conv(const py::dict& given, std::optional<Address> stream) {
  auto args = common<ConvBlockArgs>(given);
  args.out_channels = given["out_channels"].cast<int>();
  args.kernel = given["kernel"].cast<int>();
  args.stride = given["stride"].cast<int>();
  args.relu = given["relu"].cast<bool>();
  args.upsample = given["upsample"].cast<int>();
  args.weight = read_at<void>(given["weight"].cast<Address>());
  args.bias = read_at<float>(given["bias"].cast<Address>());
  args.residual = read_at<void>(given["residual"].cast<Address>());
  if (given.contains("merge")) args.merge = merge_of(given["merge"].cast<py::dict>());
  if (given.contains("head")) args.head = head_of(given["head"].cast<py::dict>());
  run(args, stream, &conv_block::launch_host);
}

void residual(const py::dict& given, std::optional<Address> stream) {
  auto args = common<ResidualBlockArgs>(given);
  args.channels = given["channels"].cast<int>();
  args.shortcut = given["shortcut"].cast<bool>();
  args.weight1 = read_at<void>(given["weight1"].cast<Address>());
  args.bias1 = read_at<float>(given["bias1"].cast<Address>());
  args.weight2 = read_at<void>(given["weight2"].cast<Address>());
  args.bias2 = read_at<float>(given["bias2"].cast<Address>());
  run(args, stream, &residual_block::launch_host);
}

}  // namespace

void bind_convolutions(py::module_& m) {
  m.def("packed_weight_count", &packed_weight_count, py::arg("out_channels"), py::arg("in_channels"),
        py::arg("kernel"));
  m.def("pack_weights", &pack, py::arg("weight"), py::arg("out_channels"), py::arg("in_channels"), py::arg("kernel"),
        py::arg("dtype"), py::arg("packed"));
  m.def("unpack_weights", &unpack, py::arg("packed"), py::arg("out_channels"), py::arg("in_channels"),
        py::arg("kernel"), py::arg("dtype"), py::arg("weight"));
  m.def("take_turns_backwards", [](bool wanted) { phases::last_thread_first() = wanted; }, py::arg("wanted"));
  m.def("conv_block", &conv, py::arg("arguments"), py::arg("stream") = py::none());
  m.def("residual_block", &residual, py::arg("arguments"), py::arg("stream") = py::none());
}

}  // namespace pitviper
