# SPDX-License-Identifier: Apache-2.0
"""A plan of fused launches, from the raw frame to the targets, in the compiled module. Needs NumPy only.

Nothing is allocated after the first frame of the largest shape, and on a GPU nothing but the targets is copied back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pitviper.kernels import checks, dlpack, native
from pitviper.kernels.extract_targets.targets import Targets

_TYPES: Final = {"|u1": 1, "<u2": 2, "<f2": 3, "<f4": 4}
_STATUSES: Final = (
    "PV_OK",
    "PV_ARGUMENT",
    "PV_PLAN",
    "PV_FRAME",
    "PV_DEVICE",
    "PV_MEMORY",
    "PV_CLOSED",
    "PV_BUSY",
    "PV_EMPTY",
    "PV_NETWORK",
)
_PAGEABLE, _PINNED, _GPU = 0, 1, 2
_SLOTS: Final = 2
_LOWEST_THRESHOLD: Final = 2.0**-16
_MOST_TARGETS: Final = 65535
_AROUND: Final = 2
"""Operations of a frame beside the launches of its plan: `standardise` and `extract_targets`."""


def runtime_missing() -> str:
    """Why the compiled module holds no runtime, with the fix; the empty string when it does."""
    reason = native.missing_reason()
    if reason or hasattr(native.load(), "runtime_open"):
        return reason
    return f"{native.load().__file__} is older than the Python sources; build it again with `pip install .`"


class RuntimeFailure(RuntimeError):
    """The runtime refused a call or failed.

    Attributes:
        status: Name of the status in ``pitviper.h``, ``PV_FRAME`` for instance.
    """

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class RuntimeResult:
    """The targets of one frame, the number it was submitted with, and its (H, W)."""

    targets: Targets
    id: int
    shape: tuple[int, int]


@dataclass(frozen=True)
class LaunchTime:
    """One operation of a frame: its folder in ``kernels/``, the channels that it writes, and its time in ms."""

    operation: str
    channels: int
    ms: float


@dataclass(frozen=True)
class LaunchTimes:
    """The times of one frame, in the order in which its operations ran.

    Attributes:
        clock: ``CUDA events``, or ``wall clock`` where they ran in the calling thread.
        launches: `standardise`, every launch of the plan, `extract_targets`.
    """

    clock: str
    launches: tuple[LaunchTime, ...]


@dataclass(frozen=True)
class _Given:
    """A frame as the compiled module takes it, and what has to live as long as it is read."""

    address: int
    layout: tuple[int, int, int, int]
    place: int
    stream: int
    owner: Any


class FusedRuntime:
    """Runs a plan. Frames are submitted and polled in order, at most two at a time.

    Any thread may call; calls take turns.

    Args:
        plan: The file of a plan (``Plan.to_bytes()``).
        device: ``cpu``, ``host`` (the GPU's kernels run on the CPU, for proof) or ``cuda:N``.
        half: Maps and weights in fp16 or, if False, fp32; None takes the device's default.
        threshold: Probability, at least 2^-16 and below 1, that a pixel has to exceed; None takes the plan's.
        max_targets: Most targets of one frame, 1 to 65535; those with the highest peaks.

    Raises:
        ValueError: ``threshold`` or ``max_targets`` is out of range.
        RuntimeFailure: The plan cannot be used, or the device is not there.
        NativeUnavailable: The compiled module is missing.
    """

    def __init__(
        self,
        plan: bytes,
        *,
        device: str = "cpu",
        half: bool | None = None,
        threshold: float | None = None,
        max_targets: int = 256,
    ) -> None:
        if runtime_missing():
            raise native.NativeUnavailable(runtime_missing())
        # The C interface has values of its own for "the default", which nobody means who gives a number here.
        if threshold is not None and not _LOWEST_THRESHOLD <= threshold < 1.0:
            raise ValueError(f"threshold must be at least 2^-16 and below 1, or None, got {threshold}")
        if not 1 <= max_targets <= _MOST_TARGETS:
            raise ValueError(f"max_targets must be 1 to {_MOST_TARGETS}, got {max_targets}")
        self._native = native.load()
        self._max_targets = max_targets
        # What frames in flight are read from: the runtime may read pinned and GPU memory until it has the result.
        self._kept: deque[Any] = deque(maxlen=_SLOTS)
        self._handle: int = self._call(
            "open",
            plan,
            device,
            -1 if half is None else int(half),
            -1.0 if threshold is None else threshold,
            max_targets,
        )

    @property
    def info(self) -> dict[str, Any]:
        """Model, architecture, device, stride, half, launches, threshold, allocations (since opening) and bytes."""
        found: dict[str, Any] = self._call("describe", self._handle)
        return found

    def prepare(self, shape: tuple[int, int]) -> None:
        """Allocate for frames of ``shape`` (H, W), so that the first one does not.

        On a GPU the first two frames of a shape, type and threshold are slower all the same: they record their
        launches.

        Raises:
            RuntimeFailure: ``PV_FRAME`` (no such frame can be run) or ``PV_MEMORY``.
        """
        self._call("prepare", self._handle, *shape)

    def submit(self, frame: Any, *, id: int = 0, pinned: bool = False, stream: int = 0) -> None:
        """Begin a frame.

        Args:
            frame: uint8, uint16, float16 or float32 [H, W], at least 32 x 32: a NumPy array, an object with
                ``__cuda_array_interface__`` (CuPy) or with ``__dlpack__`` (PyTorch), of a GPU too.
                It is never written to; what is pinned or on a GPU must stay as it is until its result was polled.
            id: Comes back with the result.
            pinned: The array lies in page-locked memory, so that it need not be copied first.
            stream: Address of the CUDA stream whose earlier work writes the frame (1 is the default stream); 0 if the
                frame says so itself (CuPy, PyTorch) or that work is done.

        Raises:
            TypeError: Not such an object, or another dtype.
            RuntimeFailure: ``PV_FRAME``, ``PV_BUSY`` (two frames are in flight), ``PV_DEVICE`` or ``PV_MEMORY``.
        """
        given = _given(frame, pinned, stream)
        self._call("submit", self._handle, given.address, given.layout, given.place, given.stream, id)
        self._kept.append(given.owner)

    def poll(self, *, wait: bool = True) -> RuntimeResult | None:
        """The targets of the oldest frame in flight; None if ``wait`` is False and it is not finished.

        Raises:
            RuntimeFailure: ``PV_EMPTY`` (none is in flight), ``PV_FRAME`` (it held NaN or infinities), ``PV_NETWORK``
                or ``PV_DEVICE``.
        """
        found = self._call("poll", self._handle, wait, self._max_targets)
        if found is None:
            return None
        id, shape, total, xy, xyxy, area, peak, mean, snr = found
        targets = Targets(xy, xyxy, area, peak, mean, snr, truncated=total > len(area), total=total)
        return RuntimeResult(targets, id, shape)

    def map(self, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """float32 [H, W], the probabilities of the frame polled last, whose ``shape`` this is.

        Raises:
            RuntimeFailure: ``PV_EMPTY``, another frame was submitted since.
        """
        probability = np.empty(shape, np.float32)
        self._call("map", self._handle, probability.ctypes.data, probability.size)
        return probability

    def profile(self, frame: Any, *, pinned: bool = False, stream: int = 0) -> LaunchTimes:
        """Run one frame launch by launch, not from its graph, and tell the time of each; its targets are not kept.

        The first frame of a shape is slower than the others. A GPU that finishes a launch before the next is there
        waits, and the wait counts.

        Args:
            frame: As in `submit`, like ``pinned`` and ``stream``.

        Raises:
            TypeError, RuntimeFailure: As in `submit`; ``PV_BUSY`` with any frame in flight.
        """
        given = _given(frame, pinned, stream)
        where = (given.address, given.layout, given.place, given.stream)
        events, launches = self._call("profile", self._handle, *where, self.info["launches"] + _AROUND)
        told = tuple(LaunchTime(*launch) for launch in launches)
        return LaunchTimes("CUDA events" if events else "wall clock", told)

    def network(
        self, standardised: npt.NDArray[np.float32], *, log_odds: bool = False
    ) -> npt.NDArray[np.float32]:
        """Probabilities float32 [N, 1, Hp, Wp] of standardised frames of that shape, one after another.

        Args:
            log_odds: Give what goes into the sigmoid, float32 in any precision.

        Raises:
            TypeError, ValueError: Not float32 [N, 1, Hp, Wp] in C order.
            RuntimeFailure: As in `submit`.
        """
        if not isinstance(standardised, np.ndarray) or standardised.dtype != np.float32:
            raise TypeError("standardised must be a float32 array")
        if standardised.ndim != 4 or standardised.shape[1] != 1 or not standardised.flags.c_contiguous:
            raise ValueError(f"standardised must be [N, 1, H, W] in C order, got {standardised.shape}")
        maps = np.empty_like(standardised)
        for given, found in zip(standardised, maps, strict=True):
            places = given.ctypes.data, found.ctypes.data
            self._call("network", self._handle, *places, *given.shape[1:], log_odds)
        return maps

    def set_threshold(self, threshold: float) -> None:
        """Probability for the frames that are submitted from now on, at least 2^-16 and below 1.

        On a GPU the next two frames record their launches anew.

        Raises:
            RuntimeFailure: ``PV_ARGUMENT``, it is out of range.
        """
        self._call("set_threshold", self._handle, threshold)

    def close(self) -> None:
        """Wait for what is in flight and let go of everything. Twice is fine; other calls raise ``PV_CLOSED``."""
        try:
            self._call("close", self._handle)
        except RuntimeFailure as error:
            if error.status != "PV_CLOSED":
                raise
        self._kept.clear()

    def __enter__(self) -> FusedRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()

    def _call(self, name: str, *values: Any) -> Any:
        try:
            return getattr(self._native, f"runtime_{name}")(*values)
        except self._native.RuntimeFailure as error:
            code, text = error.args
            raise RuntimeFailure(_STATUSES[code], text) from None


def _given(frame: Any, pinned: bool, stream: int) -> _Given:
    """A frame in whatever holds it. Raises TypeError and ValueError as `FusedRuntime.submit`."""
    interface, owner = getattr(frame, "__cuda_array_interface__", None), frame
    # Without a stream in it (PyTorch's) nothing would wait for the work that writes the frame; DLPack does.
    orders = interface is not None and (stream or "stream" in interface)
    if not orders and dlpack.on_gpu(frame):
        there = dlpack.exported(frame)
        interface, owner = there.interface, (frame, there.owner)
    if interface is not None:
        address, layout, own_stream = _on_gpu(interface)
        return _Given(address, layout, _GPU, stream or own_stream, owner)
    if not isinstance(frame, np.ndarray) and hasattr(frame, "__dlpack__"):
        frame = np.from_dlpack(frame)
    array = checks.require_frame(frame)
    if abs(array.strides[0]) < array.shape[1] * array.itemsize:  # rows that lie over one another
        array = np.ascontiguousarray(array)
    rows, columns = array.shape
    layout = (_TYPES[array.dtype.str], rows, columns, array.strides[0])
    return _Given(array.ctypes.data, layout, _PINNED if pinned else _PAGEABLE, stream, array)


def _on_gpu(interface: dict[str, Any]) -> tuple[int, tuple[int, int, int, int], int]:
    """Address, layout and stream of a ``__cuda_array_interface__``."""
    missing = [name for name in ("typestr", "shape", "data") if name not in interface]
    if missing or interface.get("mask") is not None:
        found = f"it lacks {', '.join(missing)}" if missing else "it has a mask"
        raise TypeError(f"this __cuda_array_interface__ cannot be read: {found}")
    kind, shape = interface["typestr"], tuple(interface["shape"])
    if kind not in _TYPES or len(shape) != 2:
        raise TypeError(
            f"a frame on a GPU is uint8, uint16, float16 or float32 [H, W], got {kind} {list(shape)}"
        )
    size = int(kind[2:])
    strides = interface.get("strides") or (size * shape[1], size)
    if strides[1] != size or strides[0] < size * shape[1]:
        raise TypeError(
            f"rows of a frame on a GPU must be apart and their columns adjacent, got strides {strides}"
        )
    return interface["data"][0], (_TYPES[kind], *shape, strides[0]), interface.get("stream") or 0


def capi_prefix() -> Path:
    """The folder with ``include/pitviper.h`` and ``lib`` of this installation, for CMake's ``CMAKE_PREFIX_PATH``.

    Raises:
        NativeUnavailable: The compiled module is missing.
    """
    found = native.load().__file__
    assert found is not None
    return Path(found).parent / "capi"
