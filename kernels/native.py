# SPDX-License-Identifier: Apache-2.0
"""The compiled module, loaded on first use; when it is missing, the reason is kept and told.

Importing this file loads nothing, so ``import pitviper`` works where the module was never built.
"""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any, Final

import numpy.typing as npt

from pitviper.kernels.errors import BackendUnavailable

_MODULE: Final = "pitviper.kernels._native"
_REBUILD: Final = (
    "build it with `pip install .` (in a checkout `pip install -e .`), which needs CMake and C++17"
)
REQUIRED: Final = (
    "count_nonfinite",
    "standardise",
    "extract_targets",
    "cuda_archs",
    "cuda_missing_reason",
    "packed_weight_count",
    "pack_weights",
    "unpack_weights",
    "take_turns_backwards",
    "conv_block",
    "residual_block",
    "standardise_phases",
    "standardise_phases_bytes",
    "extract_targets_phases",
    "extract_targets_phases_bytes",
    "affine_modulate_phases",
    "samf_split_phases",
    "samf_join_phases",
    "runtime_open",
    "runtime_prepare",
    "runtime_submit",
    "runtime_poll",
    "runtime_map",
    "runtime_network",
    "runtime_profile",
    "runtime_set_threshold",
    "runtime_describe",
    "runtime_close",
)
"""Functions that the Python side calls; an older build of the module may lack some."""


class NativeUnavailable(BackendUnavailable):
    """The compiled module was asked for by name and cannot be used; the message says why."""


@functools.cache
def _attempt() -> tuple[ModuleType | None, str]:
    try:
        module = importlib.import_module(_MODULE)
    except ImportError as error:
        return None, f"the compiled module {_MODULE} cannot be loaded ({error}); {_REBUILD}"
    missing = [name for name in REQUIRED if not hasattr(module, name)]
    if missing:
        found = getattr(module, "__file__", "unknown place")
        return None, f"{found} is older than the Python sources (it lacks {', '.join(missing)}); {_REBUILD}"
    return module, ""


def missing_reason() -> str:
    """Why the compiled module cannot be used, with the fix; the empty string when it can."""
    return _attempt()[1]


def load() -> ModuleType:
    """The compiled module.

    Raises:
        NativeUnavailable: it is not built, does not load or is older than the sources.
    """
    module, reason = _attempt()
    if module is None:
        raise NativeUnavailable(reason)
    return module


def cuda_missing_reason() -> str:
    """Why no GPU can run the compiled device code here, with what it was built for; empty when one can."""
    module, reason = _attempt()
    if module is None:
        return reason
    missing = str(module.cuda_missing_reason())
    built_for = ", ".join(module.cuda_archs())
    return f"{missing} (the module holds code for {built_for})" if missing and built_for else missing


def count_nonfinite(array: npt.NDArray[Any]) -> int:
    """How many values of a readable array [H, W] are NaN or infinite."""
    return int(load().count_nonfinite(array.ctypes.data, array.dtype.char, array.shape, array.strides[0]))
