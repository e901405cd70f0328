// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/pybind11.h>

namespace pitviper {

// The kernel bodies of standardise and extract_targets, on the host or on a GPU.
void bind_frame_phases(pybind11::module_& m);

}  // namespace pitviper
