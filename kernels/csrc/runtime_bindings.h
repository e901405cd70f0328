// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/pybind11.h>

namespace pitviper {

// The functions of pitviper.h for Python; see runtime.py.
void bind_runtime(pybind11::module_& m);

}  // namespace pitviper
