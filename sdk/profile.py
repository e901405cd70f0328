# SPDX-License-Identifier: Apache-2.0
"""Where the time of a frame goes: stage by stage, and against another network in the same run."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper import __version__
from pitviper.sdk.errors import InputError
from pitviper.sdk.stream_stats import Spread

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector

__all__ = ["STAGES", "Profile", "benchmark_frame", "profile_detector", "profile_together"]

STAGES: Final = ("standardise", "network", "extract", "rest", "total")
_WARM_UP = 3
_FEWEST = 10


@dataclass(frozen=True)
class Profile:
    """Times of one detector on one frame, in milliseconds.

    Attributes:
        model: Name of the model.
        shape: (H, W) of the frame in pixels.
        dtype: Of the frame.
        rounds: Frames that were timed.
        targets: Targets in the frame.
        stages: Spread of each of `STAGES`. ``rest`` is what lies between and around the three stages.
        surroundings: Median share of everything but the network in the total, in [0, 1].
        engine: `EngineInfo` as a dictionary.
        machine: Processor, cores, operating system and versions.
    """

    model: str
    shape: tuple[int, int]
    dtype: str
    rounds: int
    targets: int
    stages: Mapping[str, Spread]
    surroundings: float
    engine: Mapping[str, Any]
    machine: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings by name, safe for JSON; times in milliseconds."""
        return {
            **vars(self),
            "shape": list(self.shape),
            "surroundings": round(self.surroundings, 4),
            "stages": {f"{name}_ms": spread.to_dict() for name, spread in self.stages.items()},
        }


def benchmark_frame(shape: tuple[int, int], dtype: Any = np.uint16, *, seed: int = 0) -> NDArray[Any]:
    """A frame [H, W] as a sensor gives it: a slope, noise of 12 counts, ten targets of 1 to 9 pixels' side.

    Raises:
        InputError: The type cannot hold 14-bit counts (uint8 gets them divided by 64) or the shape is too small.
    """
    kind = np.dtype(dtype)
    if kind.name not in ("uint8", "uint16", "float16", "float32"):
        raise InputError(f"a frame is uint8, uint16, float16 or float32, got {kind}")
    if min(shape) < 32:
        raise InputError(f"a frame has at least 32x32 pixels, got {shape[0]}x{shape[1]}")
    random = np.random.default_rng(seed)
    frame = random.normal(7800, 12, shape) + np.linspace(0, 400, shape[0])[:, None]
    for index in range(10):
        side = (1, 2, 3, 5, 9)[index % 5]
        row, column = random.integers(0, shape[0] - side), random.integers(0, shape[1] - side)
        frame[row : row + side, column : column + side] += 200
    return (frame / 64 if kind == np.uint8 else frame).astype(kind)


def profile_detector(
    detector: Detector, shape: tuple[int, int] = (512, 640), *, seconds: float = 5.0, dtype: Any = np.uint16
) -> Profile:
    """Time each stage of ``detect`` on a synthetic frame.

    Args:
        detector: What is timed, as it is set up.
        shape: (H, W) of the frame.
        seconds: How long to repeat; at least ten frames are timed.
        dtype: Type of the frame.

    Raises:
        InputError: Shape, type or duration out of range.
    """
    (profile,), _ = profile_together([detector], shape, seconds=seconds, dtype=dtype)
    return profile


def profile_together(
    detectors: list[Detector],
    shape: tuple[int, int],
    *,
    seconds: float = 5.0,
    dtype: Any = np.uint16,
    others: Mapping[str, Callable[[], object]] | None = None,
) -> tuple[list[Profile], dict[str, Spread]]:
    """Time several detectors, and other calls, by turns, so that a change of the machine's pace hits all alike.

    Args:
        detectors: What is timed.
        shape: (H, W) of the frame.
        seconds: How long to repeat in all; at least ten rounds are timed.
        dtype: Type of the frame.
        others: Further calls to time in the same rounds, by name.

    Returns:
        One profile per detector, and the spread of the other calls in milliseconds.
    """
    if seconds <= 0:
        raise InputError(f"seconds must be above 0, got {seconds}")
    others = others or {}
    frame = benchmark_frame(shape, dtype)
    rows: list[list[list[float]]] = [[] for _ in detectors]
    calls: dict[str, list[float]] = {name: [] for name in others}
    targets = [0] * len(detectors)
    ending, finished = time.perf_counter() + seconds, 0
    while finished < _WARM_UP + _FEWEST or time.perf_counter() < ending:
        for index, detector in enumerate(detectors):
            row, targets[index] = _timed(detector, frame)
            rows[index].append(row)
        for name, call in others.items():
            begun = time.perf_counter_ns()
            call()
            calls[name].append((time.perf_counter_ns() - begun) / 1e6)
        finished += 1
    profiles = [
        _profile(detector, frame, rows[index][_WARM_UP:], targets[index])
        for index, detector in enumerate(detectors)
    ]
    return profiles, {name: Spread.of(times[_WARM_UP:]) for name, times in calls.items()}


def _timed(detector: Detector, frame: NDArray[Any]) -> tuple[list[float], int]:
    begun = time.perf_counter_ns()
    found = detector.detect(frame)
    total = (time.perf_counter_ns() - begun) / 1e6
    timing = found.timing
    parts = [timing.standardise_ms, timing.network_ms, timing.extract_ms]
    return [*parts, total - sum(parts), total], len(found)


def _profile(detector: Detector, frame: NDArray[Any], rows: list[list[float]], targets: int) -> Profile:
    times = np.asarray(rows)
    network, total = times[:, STAGES.index("network")], times[:, STAGES.index("total")]
    return Profile(
        model=detector.manifest.name,
        shape=(frame.shape[0], frame.shape[1]),
        dtype=frame.dtype.name,
        rounds=len(times),
        targets=targets,
        stages={name: Spread.of(times[:, index]) for index, name in enumerate(STAGES)},
        surroundings=float(np.median((total - network) / total)),
        engine=detector.engine_info.to_dict(),
        machine=machine(),
    )


def machine() -> dict[str, Any]:
    """What the numbers were measured on. Reads only; runs nothing."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pitviper": __version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.lower().startswith(("model name", "hardware")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
