# SPDX-License-Identifier: Apache-2.0
"""`ThermalMonitor`: looks at each raw frame for a little while and puts flags on its result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.cameras import CameraProfile, camera_profile
from pitviper.sdk.drift import DriftStats, DriftWatch
from pitviper.sdk.errors import InputError
from pitviper.sdk.frames import check_frame
from pitviper.sdk.stream_stats import Spread
from pitviper.sdk.thermal.levels import PinnedLimits, clipped_pixels, eight_bits, swapped_bytes
from pitviper.sdk.thermal.pixels import PixelMap
from pitviper.sdk.thermal.shutter import ShutterWatch, Step

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections

__all__ = ["MonitorStats", "Observation", "ThermalMonitor"]

_POLICIES: Final = ("flag", "remove")
_ORDER_EVERY: Final = 8
_ORDER_ROWS: Final = 64
_LARGEST_ON_BAD_PX: Final = 25
_WINDOW: Final = 1000


@dataclass(frozen=True)
class Observation:
    """What one frame showed.

    Attributes:
        flags: Names of `FLAGS`, sorted.
        clipped_px: Pixels at the ends of the range, 0 unless they pile up there.
    """

    flags: tuple[str, ...]
    clipped_px: int = 0


@dataclass(frozen=True)
class MonitorStats:
    """What a monitor saw up to now.

    Attributes:
        frames: Frames that it looked at.
        flags: Frames with each flag.
        removed: Targets that were taken out because they lie on bad pixels.
        bad_px: Pixels known to be bad.
        frames_needed: Frames that the map of bad pixels still needs; 0 when every pixel was judged.
        time_ms: Spread of the time per frame over the last frames (at most 1,000), None before the first.
        drift: Noise, fixed pattern, focus and scores, then against now.
    """

    frames: int
    flags: Mapping[str, int]
    removed: int
    bad_px: int
    frames_needed: int
    time_ms: Spread | None
    drift: DriftStats

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers by name, safe for JSON."""
        spread = None if self.time_ms is None else self.time_ms.to_dict()
        return {
            **vars(self),
            "flags": dict(self.flags),
            "time_ms": spread,
            "drift": self.drift.to_dict(),
        }


class ThermalMonitor:
    """Watches the frames of one source, in their order. To be used by one thread; one monitor for each source.

    Frames must follow each other in time: for a folder of unrelated images its flags mean nothing.

    Args:
        camera: Profile, name or JSON path of the camera, for the count at which it clips; None does without.
        bad_pixels: ``flag`` marks targets on known bad pixels (`Detections.bad_pixel`) and keeps them; ``remove``
            takes them out, counts them and flags the frame.
        pixel_samples: Looks at each pixel before it is judged; the map needs 8 times as many frames.

    Raises:
        InputError: An argument out of range, or an unknown camera.

    Example:
        >>> monitor = ThermalMonitor()
        >>> frame = np.random.default_rng(0).normal(7000, 9, (64, 64)).astype(np.uint16)
        >>> monitor.observe(frame).flags, monitor.observe(frame).flags
        ((), ('frozen',))
    """

    def __init__(
        self,
        camera: str | CameraProfile | None = None,
        *,
        bad_pixels: str = "flag",
        pixel_samples: int = 32,
    ) -> None:
        if bad_pixels not in _POLICIES:
            raise InputError(f"bad_pixels {bad_pixels!r} does not exist; there are {', '.join(_POLICIES)}")
        self._largest = None if camera is None else camera_profile(camera).largest
        self._remove = bad_pixels == "remove"
        self._samples = pixel_samples
        self._kind: tuple[Any, ...] | None = None
        self._frames = 0
        self._removed = 0
        self._flags: Counter[str] = Counter()
        self._times = np.zeros(_WINDOW, np.float32)
        self._start((64, 64))

    def _start(self, shape: tuple[int, int]) -> None:
        self._shutter = ShutterWatch()
        self._limits = PinnedLimits()
        self._drift = DriftWatch()
        self._pixels = PixelMap(shape, samples=self._samples, bands=min(8, shape[0] // 4))
        self._bad: NDArray[np.bool_] = self._pixels.bad
        self._seen_here = 0
        self._swapped = False

    @property
    def pixel_map(self) -> PixelMap:
        """What was learned of the pixels of the present size of frames."""
        return self._pixels

    @property
    def stats(self) -> MonitorStats:
        """Counts and times up to now."""
        times = self._times[: min(self._frames, _WINDOW)]
        return MonitorStats(
            frames=self._frames,
            flags=dict(sorted(self._flags.items())),
            removed=self._removed,
            bad_px=int(np.count_nonzero(self._bad)),
            frames_needed=max(0, self._pixels.frames_needed - self._pixels.frames_seen),
            time_ms=Spread.of(times) if times.size else None,
            drift=self._drift.stats,
        )

    def observe(self, frame: Any, flags: Iterable[str] = ()) -> Observation:
        """Look at the next frame.

        Args:
            frame: As in `Detector.detect`; never written to and not kept.
            flags: What the source said of it; a frame in colour is suspected of a palette, and after a lossy codec
                a change of the noise alone is no jump.

        Raises:
            InputError: No frame.
        """
        started = time.perf_counter_ns()
        flags = tuple(flags)
        pixels = check_frame(frame).pixels
        found = []
        kind = (pixels.shape, pixels.dtype)
        if kind != self._kind:
            if self._kind is not None:
                found.append("shape_changed")
            self._kind = kind
            self._start((pixels.shape[0], pixels.shape[1]))
        step = self._shutter.see(pixels, lossy="lossy" in flags)
        clipped = 0
        if step.frozen:
            # Nothing new to see: what the last frame showed is not counted twice.
            found.append("frozen")
        else:
            clipped = self._look(pixels, step, found)
        if step.ffc:
            found.append("ffc_suspected")
        if "colour_ignored" in flags:
            found.append("palette_suspected")
        self._flags.update(found)
        self._times[self._frames % _WINDOW] = (time.perf_counter_ns() - started) / 1e6
        self._frames += 1
        return Observation(tuple(sorted(found)), clipped)

    def _look(self, pixels: NDArray[Any], step: Step, found: list[str]) -> int:
        low, high = pixels.min(), pixels.max()
        clipped = clipped_pixels(pixels, low, high, self._largest)
        if clipped:
            found.append("saturated")
        if step.jump:
            found.append("jump")
        if self._limits.see(pixels, low, high) or eight_bits(pixels, high):
            found.append("agc_suspected")
        if self._order(pixels):
            found.append("byte_order_suspected")
        if step.usual:
            self._drift.see(pixels)
            self._pixels.learn(pixels, clipped=clipped > 0)
            if self._pixels.frames_seen % 8 == 0:
                self._bad = self._pixels.bad
        return clipped

    def _order(self, pixels: NDArray[Any]) -> bool:
        """Looked at in the first frame and in every eighth; in between the last answer holds."""
        if pixels.dtype == np.uint16 and self._seen_here % _ORDER_EVERY == 0:
            self._swapped = swapped_bytes(pixels[:: max(1, pixels.shape[0] // _ORDER_ROWS)])
        self._seen_here += 1
        return self._swapped

    def mark(self, found: Detections) -> Detections:
        """Detections of the frame that was observed last, those on bad pixels marked, or taken out if that was asked.

        A target of up to 25 pixels lies on a bad pixel when one is under its centroid or touches that pixel.

        Raises:
            InputError: They belong to frames of another size.
        """
        bad = self._bad
        if bad.shape != found.shape:
            raise InputError(f"detections of a {found.shape} frame; the monitor last saw one of {bad.shape}")
        self._drift.rate(found)
        if len(found) == 0 or not bad.any():
            return found
        hit = np.array(
            [
                area <= _LARGEST_ON_BAD_PX and _near(bad, x, y)
                for (x, y), area in zip(found.xy, found.area_px, strict=True)
            ]
        )
        if not hit.any():
            return found
        flag = "bad_pixel_removed" if self._remove else "bad_pixel_target"
        self._flags[flag] += 1
        flags = (*found.flags, flag)
        if self._remove:
            self._removed += int(hit.sum())
            return replace(found[~hit], flags=flags)
        return replace(found, bad_pixel=hit, flags=flags)


def _near(bad: NDArray[np.bool_], x: float, y: float) -> bool:
    row, column = int(y), int(x)
    return bool(bad[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].any())
