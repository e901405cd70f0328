# SPDX-License-Identifier: Apache-2.0
"""What the detector found in one frame: a struct of arrays that cannot be changed.

Coordinates have their origin at the outer corner of the top left pixel: the centre of pixel (row r, column c)
is (x, y) = (c + 0.5, r + 0.5). Boxes are ``x0, y0, x1, y1`` and half open. For code that puts the centre of
the first pixel at 0 (scikit-image, OpenCV, most metric code): ``xy_index = xy - 0.5``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pitviper.sdk import convert
from pitviper.sdk.errors import InputError
from pitviper.sdk.maps import ProbabilityMap

if TYPE_CHECKING:
    from pitviper.kernels import Targets
    from pitviper.sdk.sources import FrameTime
    from pitviper.sdk.tracking import Track

__all__ = ["Detections", "Target", "Timing"]

_ARRAYS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "xy": (np.float64, (2,)),
    "xyxy": (np.float32, (4,)),
    "score": (np.float32, ()),
    "mean": (np.float32, ()),
    "area_px": (np.int32, ()),
    "snr": (np.float32, ()),
    "class_id": (np.int32, ()),
    "track_id": (np.int64, ()),
    "bad_pixel": (np.bool_, ()),
}


_ROUNDING = 1e-6


@dataclass(frozen=True)
class Timing:
    """Milliseconds that one frame took, by the monotonic clock.

    ``total_ms`` is the whole of ``detect``; in a batch the network's time is shared out evenly. ``wait_ms``
    is the time spent waiting for the source, ``age_ms`` the time from arrival on this machine to the result;
    they are 0 and None outside streams.
    """

    standardise_ms: float = 0.0
    network_ms: float = 0.0
    extract_ms: float = 0.0
    total_ms: float = 0.0
    wait_ms: float = 0.0
    age_ms: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """The fields by name, in milliseconds rounded to 1 microsecond."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: None if value is None else round(value, 3) for name, value in values}


@dataclass(frozen=True)
class Target:
    """One target: centroid and half-open box in pixels, probabilities in [0, 1], SNR (NaN if unknown)."""

    x: float
    y: float
    xyxy: tuple[float, float, float, float]
    score: float
    mean: float
    area_px: int
    snr: float
    class_id: int
    track_id: int
    bad_pixel: bool = False


@dataclass(frozen=True, eq=False)
class Detections:
    """Targets of one frame in raster order of their first pixel.

    Attributes:
        xy: float64 [N, 2], probability-weighted centroids (x, y) in pixels.
        xyxy: float32 [N, 4], half-open boxes x0, y0, x1, y1 in pixels.
        score: float32 [N], peak probability. A target is there for every threshold below its score.
        mean: float32 [N], mean probability over the pixels of the target.
        area_px: int32 [N], pixels above the threshold.
        snr: float32 [N], robust local signal-to-noise ratio in the raw frame; NaN where it is not known.
        class_id: int32 [N], 0 for every target of a one-class model.
        track_id: int64 [N], -1 where no tracker ran and for targets that are part of no confirmed track.
        bad_pixel: bool [N], whether the target lies on a pixel that a `ThermalMonitor` knows to be bad.
        shape: (H, W) of the frame in pixels.
        frame_id: Index of the frame in its source, from 0.
        time: Times of the frame (sensor, host, UTC), or None outside streams.
        timing: Milliseconds per stage.
        threshold: Probability that a pixel had to exceed.
        flags: What a reader should know, sorted: ``truncated`` (more targets than ``max_targets``),
            ``agc_suspected`` (an 8-bit frame), ``tiled``, and those of the source and of a `ThermalMonitor`.
        name: Name of the frame in its source (a file name, for instance), or None.
        tracks: Confirmed and coasting tracks at the time of the frame, by id; None where no tracker ran. They are
            those of the whole frame, after ``filter`` and indexing too.
        probability: What `score_map`, `log_odds_map` and `mask` are read from, or None; shared by what was filtered
            from this result.

    Raises:
        InputError: Arrays of different length, of another shape or not convertible; values that cannot be.
    """

    xy: NDArray[np.float64]
    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    mean: NDArray[np.float32]
    area_px: NDArray[np.int32]
    snr: NDArray[np.float32]
    shape: tuple[int, int]
    class_id: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    track_id: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    frame_id: int = 0
    time: FrameTime | None = None
    timing: Timing = Timing()
    threshold: float = 0.5
    flags: tuple[str, ...] = ()
    name: str | None = None
    tracks: tuple[Track, ...] | None = None
    probability: ProbabilityMap | None = field(default=None, repr=False)
    bad_pixel: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(np.asarray(self.score)))
        for key, fill in (("class_id", 0), ("track_id", -1), ("bad_pixel", False)):
            if count and np.size(getattr(self, key)) == 0:
                object.__setattr__(self, key, np.full(count, fill))
        for key, (dtype, tail) in _ARRAYS.items():
            object.__setattr__(self, key, _frozen(getattr(self, key), key, dtype, (count, *tail)))
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise InputError(f"shape must be (height, width) of the frame in pixels, got {self.shape!r}")
        if not np.isfinite(self.xy).all() or not np.isfinite(self.xyxy).all():
            raise InputError("xy and xyxy must be finite; drop the other rows before building Detections")
        if count and not ((self.score >= 0) & (self.score <= 1)).all():
            raise InputError("score must be a probability in [0, 1]; pass sigmoid(logit), not the logit")
        object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        object.__setattr__(self, "flags", tuple(sorted(set(self.flags))))

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickled and deep-copied arrays come back writable; a result never is.
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        self.__dict__.update(state)

    @classmethod
    def empty(cls, shape: tuple[int, int], **values: Any) -> Detections:
        """No target in a frame of ``shape`` (H, W); ``values`` are other attributes of the class."""
        arrays = {key: np.empty((0, *tail), dtype) for key, (dtype, tail) in _ARRAYS.items()}
        return cls(**{**arrays, "shape": shape, **values})

    @classmethod
    def from_targets(cls, targets: Targets, shape: tuple[int, int], **values: Any) -> Detections:
        """The result of `pitviper.kernels.extract_targets` in a frame of ``shape`` (H, W)."""
        flags = (*values.pop("flags", ()), *(("truncated",) if targets.truncated else ()))
        return cls(
            xy=targets.xy,
            xyxy=targets.xyxy,
            score=_bounded(targets.peak),
            mean=_bounded(targets.mean),
            area_px=targets.area,
            snr=targets.snr,
            shape=shape,
            flags=flags,
            **values,
        )

    @property
    def peak(self) -> NDArray[np.float32]:
        """float32 [N], peak probability: the same array as ``score``."""
        return self.score

    @property
    def score_map(self) -> NDArray[np.float32]:
        """float32 [H, W], the probability of every pixel, read-only.

        Raises:
            InputError: The map was not kept (a stream lets go of it at the next frame), or never was.
        """
        return self._map().values()

    @property
    def log_odds_map(self) -> NDArray[np.float32]:
        """float32 [H, W], log-odds of every pixel, read-only: finer than `score_map` where that is nearly 1.

        Raises:
            InputError: The threshold was no `LogOdds`, or the map was not kept, as for `score_map`.
        """
        return self._map().log_odds()

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool [H, W], the pixels of these targets: computed when asked for, a fresh array each time.

        After ``filter``, indexing or truncation only the components of the remaining targets are in it.

        Raises:
            InputError: There was no probability map to begin with.
        """
        return self._map().mask(self.xyxy, self.area_px)

    def _map(self) -> ProbabilityMap:
        if self.probability is None:
            raise InputError("these detections hold no probability map; only those made by a Detector do")
        return self.probability

    def __len__(self) -> int:
        return len(self.score)

    def __iter__(self) -> Iterator[Target]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Target: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> Detections: ...
    def __getitem__(self, index: Any) -> Target | Detections:
        """One `Target` for an integer; the selected `Detections` for a slice, a bool [N] or an int array."""
        if isinstance(index, (int, np.integer)) and not isinstance(index, (bool, np.bool_)):
            return self._target(int(index))
        chosen = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(chosen, np.ndarray) and chosen.size == 0:
            chosen = chosen.astype(np.bool_ if chosen.dtype == np.bool_ else np.intp)
        try:
            return replace(self, **{key: getattr(self, key)[chosen] for key in _ARRAYS})
        except IndexError as error:
            raise InputError(f"cannot select from {len(self)} targets: {error}") from error

    def _target(self, index: int) -> Target:
        if not -len(self) <= index < len(self):
            raise IndexError(f"target {index} of {len(self)}")
        x0, y0, x1, y1 = (float(edge) for edge in self.xyxy[index])
        return Target(
            x=float(self.xy[index, 0]),
            y=float(self.xy[index, 1]),
            xyxy=(x0, y0, x1, y1),
            score=float(self.score[index]),
            mean=float(self.mean[index]),
            area_px=int(self.area_px[index]),
            snr=float(self.snr[index]),
            class_id=int(self.class_id[index]),
            track_id=int(self.track_id[index]),
            bad_pixel=bool(self.bad_pixel[index]),
        )

    def filter(
        self,
        keep: NDArray[np.bool_] | Callable[[Detections], ArrayLike] | None = None,
        *,
        min_score: float | None = None,
        min_snr: float | None = None,
        area_px: tuple[float, float] | None = None,
    ) -> Detections:
        """The targets that pass every given condition, in the same order.

        Args:
            keep: bool [N], or a function of these detections that returns it.
            min_score: Smallest peak probability.
            min_snr: Smallest signal-to-noise ratio; a target whose SNR is not known (NaN) does not pass.
            area_px: Smallest and largest area in pixels, both included.

        Raises:
            InputError: ``keep`` is not bool [N], or ``area_px`` no pair.
        """
        passed = np.ones(len(self), np.bool_)
        if keep is not None:
            given = np.asarray(keep(self) if callable(keep) else keep)
            if given.shape != passed.shape or given.dtype != np.bool_:
                raise InputError(f"keep must be bool [{len(self)}], got {given.dtype} {list(given.shape)}")
            passed &= given
        if min_score is not None:
            passed &= self.score >= min_score
        if min_snr is not None:
            passed &= self.snr >= min_snr
        if area_px is not None:
            if not (isinstance(area_px, (tuple, list)) and len(area_px) == 2):
                raise InputError(f"area_px must be a pair (smallest, largest) in pixels, got {area_px!r}")
            passed &= (self.area_px >= area_px[0]) & (self.area_px <= area_px[1])
        return self[passed]

    def with_flags(self, *flags: str) -> Detections:
        """The same targets with further flags."""
        return replace(self, flags=(*self.flags, *flags)) if flags else self

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, safe for JSON: what is not finite becomes None. See `convert`."""
        return convert.to_dict(self)

    def to_json(self) -> str:
        """`to_dict` as one line of JSON."""
        return convert.to_json(self)

    def to_coco(self, image_id: int | None = None) -> list[dict[str, Any]]:
        """Entries of a COCO results file. See `convert.to_coco`."""
        return convert.to_coco(self, image_id)

    def to_mot(self) -> list[str]:
        """Lines of a MOT challenge file. See `convert.to_mot`."""
        return convert.to_mot(self)

    def to_supervision(self) -> Any:
        """A ``supervision.Detections``. See `convert.to_supervision`."""
        return convert.to_supervision(self)


def _bounded(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounding above 1 taken off: the sigmoid of 17.844 is 1 + 2**-23 in ONNX Runtime. More than that stays."""
    return np.where(probability <= 1 + _ROUNDING, np.minimum(probability, 1), probability)


def _frozen(value: ArrayLike, key: str, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        array = np.array(value, dtype=dtype, order="C")
    except (TypeError, ValueError) as error:
        raise InputError(f"{key} cannot become an array of {np.dtype(dtype)}: {error}") from error
    if array.size == 0 and shape[0] == 0:
        array = array.reshape(shape)
    if array.shape != shape:
        raise InputError(
            f"{key} must have shape {list(shape)} ({shape[0]} scores given), got {list(array.shape)}"
        )
    array.setflags(write=False)
    return array
