// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/pybind11.h>

namespace pitviper {

// conv_block, residual_block and their weights, on the host.
void bind_convolutions(pybind11::module_& m);

}  // namespace pitviper
