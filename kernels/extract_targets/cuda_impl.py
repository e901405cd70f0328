# SPDX-License-Identifier: Apache-2.0
"""The kernel bodies of `extract_targets`: on a GPU as the backend ``cuda``, on the host for proof.

The host form (``on_gpu=False``) runs the same C++ phases one thread after another. It is no backend: ``host`` is the
fast code for the CPU. Maps, frames and targets are NumPy arrays in both cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pitviper.kernels import checks, memory, native
from pitviper.kernels.extract_targets.host_impl import RING
from pitviper.kernels.extract_targets.targets import Targets

LEAST_THRESHOLD: Final = 2.0**-16
"""Below it, probabilities are finer than the integers in which the kernels sum."""
MOST_PIXELS: Final = 2**24
MOST_TARGETS: Final = 65535
RECORD: Final = np.dtype(
    [
        ("xy", np.float64, 2),
        ("xyxy", np.int32, 4),
        ("area", np.int32),
        ("peak", np.float32),
        ("mean", np.float32),
        ("snr", np.float32),
    ]
)
"""``TargetRecord`` of ``csrc/extract_targets.h``."""
HEADER: Final = np.dtype([(name, np.int32) for name in ("count", "total", "invalid", "frame_nonfinite")])
"""``TargetHeader`` of ``csrc/extract_targets.h``."""
_DTYPES: Final = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}


@dataclass(frozen=True)
class HeadSource:
    """A 1x1 convolution whose result is added to the logits, one output for each pixel of a cell.

    Attributes:
        map: [B, h, w, C] float32 or float16 in C order, C a multiple of 8 up to 128.
        weight: float32 [factor^2, C]; output 2 * (row phase) + (column phase) of a cell of 2 x 2 pixels.
        bias: float32 [factor^2], or None.
    """

    map: npt.NDArray[Any]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None = None

    def arguments(self) -> dict[str, Any]:
        """``HeadSource`` of ``csrc/extract_targets.h`` by the names of ``csrc/frame_bindings.cpp``."""
        return {
            "map": self.map.ctypes.data,
            "shape": self.map.shape[1:],
            "factor": {1: 1, 4: 2}.get(len(self.weight), 0),
            "weight": self.weight.ctypes.data,
            "bias": 0 if self.bias is None else self.bias.ctypes.data,
        }


@dataclass(frozen=True)
class Batch:
    """What the kernels left for each frame of a batch."""

    headers: npt.NDArray[Any]
    records: npt.NDArray[Any]

    def targets(self, index: int) -> Targets:
        """The targets of one frame.

        Raises:
            ValueError: its map holds values that are no probabilities, or its frame NaN or infinite values.
        """
        count, total, invalid, nonfinite = (int(value) for value in self.headers[index])
        if invalid:
            raise ValueError(
                f"probability has {invalid} values that are NaN, infinite or above 1; find out where they come from"
            )
        if nonfinite:
            raise ValueError(
                f"frame has {nonfinite} NaN or infinite values; replace them before it is standardised"
            )
        kept = self.records[index, :count]
        return Targets(
            *(kept["xy"].copy(), kept["xyxy"].astype(np.float32), kept["area"].copy()),
            *(kept["peak"].copy(), kept["mean"].copy(), kept["snr"].copy()),
            truncated=total > count,
            total=total,
        )


def extract_targets_phases(
    map: npt.NDArray[Any] | Sequence[HeadSource],
    frames: npt.NDArray[Any] | None = None,
    threshold: float = 0.5,
    *,
    shape: tuple[int, int] | None = None,
    logits: bool = False,
    max_targets: int = 256,
    statistics: npt.NDArray[Any] | None = None,
    on_gpu: bool = False,
) -> Batch:
    """The targets of a batch of maps.

    Args:
        map: [B, H, W] with adjacent columns: probabilities in float32 or, with ``logits``, what the sigmoid is taken
            of, in float32 or float16; or one or two sources of a head.
        frames: raw frames [B, H, W] for the contrast, or None.
        threshold: 2^-16 to 1.
        shape: (H, W) of the frames without padding; needed for sources, else that of ``map``.
        statistics: what `standardise_phases` measured in the frames; a frame that is not finite has no targets.

    Raises:
        ValueError: an argument does not fit, in the words of ``csrc/extract_targets_phases.cpp``.
        RuntimeError: the GPU refuses.
    """
    if frames is not None:
        checks.require_adjacent(frames, "frames")
    if isinstance(map, np.ndarray):
        checks.require_adjacent(map, "map")
    given = arguments(
        map, frames, threshold, shape=shape, logits=logits, max_targets=max_targets, statistics=statistics
    )
    module = native.load()
    needed, each = module.extract_targets_phases_bytes(given)
    output = memory.aligned_empty((given["shape"][0], each), np.uint8)
    workspace = memory.aligned_empty((0 if on_gpu else needed,), np.uint8)
    places = {
        "output": output.ctypes.data,
        "workspace": workspace.ctypes.data,
        "workspace_bytes": workspace.nbytes,
    }
    module.extract_targets_phases(given | places, on_gpu)
    return batch_of(output)


def batch_of(output: npt.NDArray[np.uint8]) -> Batch:
    """The bytes [B, n] that the kernels wrote."""
    headers = output[:, : HEADER.itemsize].copy().view(HEADER)[:, 0]
    records = output[:, HEADER.itemsize :].copy().view(RECORD)
    return Batch(headers, records)


def arguments(
    map: npt.NDArray[Any] | Sequence[HeadSource],
    frames: npt.NDArray[Any] | None,
    threshold: float,
    *,
    shape: tuple[int, int] | None = None,
    logits: bool = False,
    max_targets: int = 256,
    statistics: npt.NDArray[Any] | None = None,
) -> dict[str, Any]:
    """``ExtractTargetsArgs`` by the names of ``csrc/frame_bindings.cpp``, without output and workspace.

    The arguments are those of `extract_targets_phases`.
    """
    return _input(map, shape, logits=logits) | {
        "threshold": threshold,
        "capacity": max_targets,
        "frames": 0 if frames is None else frames.ctypes.data,
        "frame_type": "H" if frames is None else frames.dtype.char,
        "frame_strides": (0, 0) if frames is None else frames.strides[:2],
        "statistics": 0 if statistics is None else statistics.ctypes.data,
        "rule": RING,
        "output": 0,
        "workspace": 0,
        "workspace_bytes": 0,
    }


def _input(
    map: npt.NDArray[Any] | Sequence[HeadSource], shape: tuple[int, int] | None, *, logits: bool
) -> dict[str, Any]:
    if not isinstance(map, Sequence):
        return {
            "input": 1 if logits else 0,
            "dtype": _DTYPES[map.dtype],
            "shape": (map.shape[0], *(shape or map.shape[1:])),
            "map": map.ctypes.data,
            "strides": map.strides[:2],
            "sources": [],
        }
    if shape is None:
        raise ValueError("sources need the shape of the frames, for example shape=frame.shape")
    return {
        "input": 2,
        "dtype": _DTYPES[map[0].map.dtype],
        "shape": (len(map[0].map), *shape),
        "map": 0,
        "strides": (0, 0),
        "sources": [source.arguments() for source in map],
    }
