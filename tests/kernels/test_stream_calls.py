# SPDX-License-Identifier: Apache-2.0
"""Launches on a caller's stream: refused by CUDA where there is no GPU, and by the same checks as on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pitviper.kernels import memory, native
from pitviper.kernels.conv_block.host_impl import input_arguments, pack_weights
from pitviper.kernels.conv_block.maps import empty
from pitviper.kernels.extract_targets import cuda_impl as extraction
from pitviper.kernels.standardise import cuda_impl as standardisation

Call = Callable[..., None]
KEPT: list[Any] = []


def residual_arguments() -> dict[str, Any]:
    x, out = empty((1, 8, 8, 16), np.float32), empty((1, 8, 8, 16), np.float32)
    packed = pack_weights(np.zeros((16, 16, 3, 3), np.float32), np.float32)
    bias = empty((16,), np.float32)
    KEPT.extend((x, out, packed, bias))
    weights = {f"weight{k}": packed.ctypes.data for k in (1, 2)} | {
        f"bias{k}": bias.ctypes.data for k in (1, 2)
    }
    return input_arguments(x, 16) | weights | {"channels": 16, "shortcut": True, "output": out.ctypes.data}


def standardise_arguments() -> dict[str, Any]:
    frames, out = np.full((1, 16, 16), 7, np.uint16), memory.aligned_empty((1, 16, 16, 1), np.float32)
    statistics = np.empty(1, standardisation.STATISTICS)
    given = standardisation.arguments(frames, out, (16, 16), statistics)
    workspace = memory.aligned_empty((native.load().standardise_phases_bytes(given),), np.uint8)
    KEPT.extend((frames, out, statistics, workspace))
    return given | {"workspace": workspace.ctypes.data, "workspace_bytes": workspace.nbytes}


def extract_arguments() -> dict[str, Any]:
    maps = memory.aligned_empty((1, 16, 16), np.float32)
    given = extraction.arguments(maps, None, 0.5)
    needed, each = native.load().extract_targets_phases_bytes(given)
    output, workspace = memory.aligned_empty((1, each), np.uint8), memory.aligned_empty((needed,), np.uint8)
    KEPT.extend((maps, output, workspace))
    places = {"output": output.ctypes.data, "workspace": workspace.ctypes.data}
    return given | places | {"workspace_bytes": workspace.nbytes}


CALLS = {
    "residual_block": (residual_arguments, (), {"channels": 24}),
    "standardise_phases": (standardise_arguments, (False,), {"block": 3}),
    "extract_targets_phases": (extract_arguments, (False,), {"capacity": 0}),
}


@pytest.mark.skipif(not native.cuda_missing_reason(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("name", CALLS)
def test_without_a_gpu_a_stream_is_refused_in_words(name: str) -> None:
    make, more, _ = CALLS[name]
    call: Call = getattr(native.load(), name)
    with pytest.raises(RuntimeError, match=r"(?i)cuda|nvcc"):
        call(make(), *more, stream=0)
    call(make(), *more)  # and on the host the same arguments run


@pytest.mark.parametrize("name", CALLS)
def test_arguments_are_checked_before_the_stream_is_used(name: str) -> None:
    make, more, wrong = CALLS[name]
    if not native.load().cuda_archs():
        pytest.skip("the module was built without nvcc")
    with pytest.raises(ValueError, match=next(iter(wrong))):
        getattr(native.load(), name)(make() | wrong, *more, stream=0)
