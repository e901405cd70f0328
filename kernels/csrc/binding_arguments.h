// SPDX-License-Identifier: Apache-2.0
// How the bindings of kernel bodies read a dict of arguments and tell what went wrong.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>

#include "phases.h"

namespace pitviper {
namespace binding {

template <typename T>
T value(const pybind11::dict& given, const char* name) {
  return given[name].cast<T>();
}

inline void* address(const pybind11::dict& given, const char* name) {
  return reinterpret_cast<void*>(value<std::uintptr_t>(given, name));
}

inline void require(const Status& status) {
  if (status.code == Status::kBadArgument) throw std::invalid_argument(status.text);
  if (!status.ok()) throw std::runtime_error(status.text);
}

}  // namespace binding
}  // namespace pitviper
