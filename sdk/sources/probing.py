# SPDX-License-Identifier: Apache-2.0
"""What a source really delivers: measured on its frames, not taken from what it says of itself."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.cameras import CAMERAS
from pitviper.sdk.errors import SourceError
from pitviper.sdk.sources.frame import Frame, Source
from pitviper.sdk.thermal.levels import swapped_bytes

__all__ = ["DeviceReport", "ProbeReport", "probe_devices", "probe_source", "suspect_rows"]

_OUTER_ROWS: Final = 4
_ODD: Final = 6.0
"""How many times rougher or smoother than the picture a row of telemetry is."""


@dataclass(frozen=True)
class ProbeReport:
    """What some frames of a source showed.

    Attributes:
        kind, name, live, stated_fps, stated_frames: What the source says of itself.
        frames: Frames that were read; `skipped` could not be.
        shapes: (H, W) -> frames of that size, as text ``HxW``.
        dtypes: Type of the pixels -> frames.
        lowest, highest: Counts in all frames.
        used_bits: Bits that the highest count needs; None for frames that are no integers.
        low_bits_unused: Lowest bits that are zero in every pixel: counts that were shifted up.
        measured_fps: By the arrival of the frames; None below three, or when they did not come at a camera's pace.
        sensor_fps: By the source's own times; None without them.
        sensor_times: ``none``, ``rising``, or ``not rising`` when one does not lie above the one before.
        sensor_clock: ``this machine's`` when the times lie within a minute of its monotonic clock, else ``its own``.
        repeated: Frames that equal the one before them.
        telemetry_rows: Rows that do not look like picture; at the top counted from 0, at the bottom from -1.
        byte_order_suspected: Whether the bytes of the words seem to be swapped.
        fitting_profiles: Camera profiles that know frames of this size.
        flags: Flag -> frames that had it.
    """

    kind: str
    name: str
    live: bool
    stated_fps: float | None
    stated_frames: int | None
    frames: int
    skipped: int
    shapes: Mapping[str, int]
    dtypes: Mapping[str, int]
    lowest: float | None
    highest: float | None
    used_bits: int | None
    low_bits_unused: int | None
    measured_fps: float | None
    sensor_fps: float | None
    sensor_times: str
    sensor_clock: str | None
    repeated: int
    telemetry_rows: tuple[int, ...]
    byte_order_suspected: bool
    fitting_profiles: tuple[str, ...]
    flags: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, safe for JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class DeviceReport:
    """A capture device: its path, driver, card and formats as `describe` lists them, or the reason why not."""

    path: str
    driver: str = ""
    card: str = ""
    formats: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""


def probe_devices() -> list[DeviceReport]:
    """Every video device of this machine and what it offers. No picture is taken."""
    from pitviper.sdk.sources.v4l2 import list_devices

    return [_device(path) for path in list_devices()]


def _device(path: str) -> DeviceReport:
    from pitviper.sdk.sources.v4l2 import describe, identify
    from pitviper.sdk.sources.v4l2.device import KernelDevice

    try:
        device = KernelDevice(path)
    except OSError as error:
        return DeviceReport(path, problem=str(error.strerror))
    try:
        driver, card = identify(device)
        formats = tuple(
            {
                "format": offer.code,
                "description": offer.description,
                "sizes": {f"{width}x{height}": list(rates) for (height, width), rates in offer.sizes.items()},
            }
            for offer in describe(device)
        )
        return DeviceReport(path, driver, card, formats)
    except SourceError as error:
        return DeviceReport(path, problem=str(error))
    except OSError as error:
        return DeviceReport(path, problem=str(error.strerror))
    finally:
        device.close()


def probe_source(source: Source, *, frames: int = 30, seconds: float = 5.0) -> ProbeReport:
    """Read some frames and say what they are. The source is closed.

    Args:
        source: Opened without a camera profile, so that raw frames are seen.
        frames: Frames to read at most.
        seconds: Stop after this time.

    Raises:
        SourceError: It delivers no frame.
    """
    seen = _Seen()
    end = time.monotonic() + seconds
    with source:
        for frame in source:
            seen.add(frame)
            if seen.count >= frames or time.monotonic() >= end:
                break
        skipped = source.skipped
    if not seen.count:
        raise SourceError(f"{source.info.name}: delivered no frame")
    return seen.report(source, skipped)


class _Seen:
    """What is gathered frame by frame."""

    def __init__(self) -> None:
        self.count = self.repeated = 0
        self.shapes: Counter[tuple[int, int]] = Counter()
        self.dtypes: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.low, self.high = np.inf, -np.inf
        self.bits = 0
        self.host: list[int] = []
        self.sensor: list[int | None] = []
        self.rows: dict[int, int] = {}
        self.swapped = 0
        self.last: NDArray[Any] | None = None

    def add(self, frame: Frame) -> None:
        image = frame.image
        self.count += 1
        self.shapes[int(image.shape[0]), int(image.shape[1])] += 1
        self.dtypes[image.dtype.name] += 1
        self.flags.update(frame.flags)
        self.low, self.high = min(self.low, float(image.min())), max(self.high, float(image.max()))
        self.host.append(frame.time.host_ns)
        self.sensor.append(frame.time.sensor_ns)
        if image.dtype.kind == "u":
            self.bits |= int(np.bitwise_or.reduce(image, axis=None))
            self.swapped += image.dtype == np.uint16 and swapped_bytes(image)
        for row in suspect_rows(image):
            self.rows[row] = self.rows.get(row, 0) + 1
        self.repeated += self.last is not None and np.array_equal(image, self.last)
        self.last = image

    def report(self, source: Source, skipped: int) -> ProbeReport:
        integers = all(name.startswith("uint") for name in self.dtypes)
        bits = self.bits
        times = [each for each in self.sensor if each is not None]
        rising = "none" if not times else "rising"
        if any(after <= before for before, after in itertools.pairwise(times)):
            rising = "not rising"
        clock = None
        if times:
            clock = "this machine's" if abs(times[0] - self.host[0]) < 60_000_000_000 else "its own"
        sizes = set(self.shapes)
        fitting = [
            name for name, profile in CAMERAS.items() if any(each.raw in sizes for each in profile.layouts)
        ]
        return ProbeReport(
            kind=source.info.kind,
            name=source.info.name,
            live=source.info.live,
            stated_fps=source.info.fps,
            stated_frames=source.info.count,
            frames=self.count,
            skipped=skipped,
            shapes={f"{height}x{width}": count for (height, width), count in self.shapes.items()},
            dtypes=dict(self.dtypes),
            lowest=self.low if np.isfinite(self.low) else None,
            highest=self.high if np.isfinite(self.high) else None,
            used_bits=int(self.high).bit_length() if integers else None,
            low_bits_unused=(bits & -bits).bit_length() - 1 if integers and bits else None,
            measured_fps=_rate(self.host) if source.info.live else None,
            sensor_fps=_rate(times),
            sensor_times=rising,
            sensor_clock=clock,
            repeated=self.repeated,
            telemetry_rows=tuple(sorted(row for row, hits in self.rows.items() if 2 * hits > self.count)),
            byte_order_suspected=2 * self.swapped > self.count,
            fitting_profiles=tuple(fitting),
            flags=dict(self.flags),
        )


def _rate(times_ns: list[int]) -> float | None:
    """Frames per second by the median step, which a single late frame does not move."""
    if len(times_ns) < 3:
        return None
    step = float(np.median(np.diff(np.asarray(times_ns, np.float64))))
    return round(1e9 / step, 3) if step > 0 else None


def suspect_rows(image: NDArray[Any]) -> tuple[int, ...]:
    """Outer rows of [H, W] that do not look like picture, as telemetry does not: constant, or far rougher.

    Only rows from the very edge inwards count; at the bottom they are numbered from -1 upwards.
    """
    if image.shape[0] < 4 * _OUTER_ROWS:
        return ()
    values = image.astype(np.float64)
    rough = np.abs(np.diff(values, axis=1)).mean(axis=1)
    usual = float(np.median(rough[_OUTER_ROWS:-_OUTER_ROWS]))
    if usual == 0:
        return ()
    odd = (rough > _ODD * usual) | (rough < usual / _ODD)
    found = []
    for rows in (range(_OUTER_ROWS), range(-1, -_OUTER_ROWS - 1, -1)):
        for row in rows:
            if not odd[row]:
                break
            found.append(row)
    # Odd rows as far as we look are a scene with an edge, not a few rows of telemetry.
    return tuple(
        row for row in found if not (odd[:_OUTER_ROWS].all() if row >= 0 else odd[-_OUTER_ROWS:].all())
    )
