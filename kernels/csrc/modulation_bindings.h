// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/pybind11.h>

namespace pitviper {

// The kernels of affine_modulate and samf_fuse, on the host or on a stream.
void bind_modulation_phases(pybind11::module_& m);

}  // namespace pitviper
