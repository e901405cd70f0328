# SPDX-License-Identifier: Apache-2.0
"""The index of a recording, line by line: one JSON object for the whole, then one for each frame.

Numbers are written so that reading gives the same bits: Python's JSON keeps float64, and float32 fits into it.
What is read is never trusted: anything but a line of this form is a `SourceError`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pitviper.sdk.cameras import Telemetry
from pitviper.sdk.detections import Detections
from pitviper.sdk.errors import InputError, SourceError
from pitviper.sdk.frame_path import MAX_TARGETS
from pitviper.sdk.frames import POLARITIES
from pitviper.sdk.log_odds import LogOdds
from pitviper.sdk.sources.frame import FrameTime
from pitviper.sdk.tracking import Track

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector

__all__ = [
    "DTYPES",
    "ENCODINGS",
    "SCHEMA",
    "Entry",
    "Header",
    "Setup",
    "pack_found",
    "parse_line",
    "unpack_found",
]

SCHEMA: Final = "pitviper.recording/1"
"""Name and version of the form. Keys may be added; a changed or removed one raises the number."""
ENCODINGS: Final = ("raw", "ffv1")
DTYPES: Final = ("uint8", "uint16", "float16", "float32")
_ARRAYS: Final = ("xy", "xyxy", "score", "mean", "area_px", "snr", "class_id", "track_id", "bad_pixel")
_LARGEST_SIDE: Final = 65535


@dataclass(frozen=True)
class Setup:
    """How the decisions were made, so that `rerun` can make them again.

    Attributes:
        model: Name of a shipped model or path of a package.
        model_sha256: SHA-256 of its network.
        engine: `EngineInfo.to_dict` of what it ran on.
        max_targets: Most targets of a frame.
        polarity: Of the targets that were looked for, ``bright`` or ``dark``.
        monitor: Arguments of the `ThermalMonitor`, or None when there was none.
        tracker: Arguments of the `Tracker`, or None. What was made another way is not in here, and not compared.
    """

    model: str
    model_sha256: str = ""
    engine: Mapping[str, Any] = field(default_factory=dict)
    max_targets: int = MAX_TARGETS
    polarity: str = POLARITIES[0]
    monitor: Mapping[str, Any] | None = None
    tracker: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, detector: Detector, **others: Any) -> Setup:
        """The set-up of a detector; `others` are attributes that it cannot tell: monitor, tracker, max_targets."""
        from pitviper.sdk.calibration import model_identity

        _, sha256 = model_identity(detector.package)
        model = _model_name(detector)
        return cls(model, sha256, detector.engine_info.to_dict(), polarity=detector.polarity, **others)


def _model_name(detector: Detector) -> str:
    from pitviper.sdk.model import list_models

    name = detector.manifest.name
    return name if name in list_models() else str(detector.package.path)


@dataclass(frozen=True)
class Header:
    """The first line.

    Attributes:
        encoding: ``raw`` or ``ffv1``.
        source: Where the frames came from, without credentials.
        fps: Frames per second that the source stated, or None.
        camera: Name of the camera profile, or None.
        created_utc: When, ISO 8601.
        pitviper: Version that wrote it.
        setup: How the decisions were made, or None.
        schema: Form and version.
    """

    encoding: str
    source: str = ""
    fps: float | None = None
    camera: str | None = None
    created_utc: str = ""
    pitviper: str = ""
    setup: Setup | None = None
    schema: str = SCHEMA

    def to_line(self) -> bytes:
        """The line, with its end."""
        return _line(asdict(self))


@dataclass(frozen=True)
class Entry:
    """One frame.

    Attributes:
        index: Number of the frame in its source.
        time: The three times that it had.
        name: File name, or None.
        flags: Those of the source, and of whatever else is no decision that a rerun makes.
        shape: (H, W).
        dtype: Name of its type.
        file: Number of the file that holds it.
        at: Offset in bytes (raw) or number of the picture in that file (ffv1).
        crc32: Of its pixels, little endian in C order.
        found: What was decided, as `pack_found` wrote it, or None.
        telemetry: What the camera said of it, or None.
    """

    index: int
    time: FrameTime
    name: str | None
    flags: tuple[str, ...]
    shape: tuple[int, int]
    dtype: str
    file: int
    at: int
    crc32: int
    found: Mapping[str, Any] | None = None
    telemetry: Telemetry | None = None

    def to_line(self) -> bytes:
        """The line, with its end."""
        time = (self.time.sensor_ns, self.time.host_ns, self.time.utc_ns)
        telemetry = None if self.telemetry is None else asdict(self.telemetry)
        return _line({**vars(self), "time": time, "telemetry": telemetry})


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def pack_found(found: Detections) -> dict[str, Any]:
    """Every number of a result without rounding; NaN becomes None. Times and stage times are left out."""
    arrays = {key: getattr(found, key).tolist() for key in _ARRAYS}
    arrays["snr"] = [value if math.isfinite(value) else None for value in arrays["snr"]]
    tracks = None if found.tracks is None else [asdict(track) for track in found.tracks]
    threshold = {"threshold": float(found.threshold)}
    if isinstance(found.threshold, LogOdds):
        threshold["log_odds"] = found.threshold.log_odds
    return {**threshold, "flags": list(found.flags), "tracks": tracks, **arrays}


def unpack_found(entry: Entry) -> Detections | None:
    """The result of an entry, None when none was recorded.

    Raises:
        SourceError: The values are no result.
    """
    if entry.found is None:
        return None
    values = dict(entry.found)
    try:
        arrays: dict[str, Any] = {key: values[key] for key in _ARRAYS}
        arrays["snr"] = [math.nan if value is None else value for value in arrays["snr"]]
        if not all(isinstance(value, list) for value in arrays.values()):
            raise TypeError("a list is needed")
        tracks = values["tracks"]
        threshold = (
            LogOdds(_number(values["log_odds"])) if "log_odds" in values else _number(values["threshold"])
        )
        return Detections(
            **arrays,
            shape=entry.shape,
            frame_id=entry.index,
            time=entry.time,
            name=entry.name,
            threshold=threshold,
            flags=_texts(values["flags"]),
            tracks=None if tracks is None else tuple(_track(each) for each in tracks),
        )
    except (KeyError, TypeError, ValueError, OverflowError, InputError) as error:
        raise SourceError(f"frame {entry.index} of the index holds no result: {error!r}") from error


def _track(values: Any) -> Track:
    track = Track(**values)
    numbers = (getattr(track, item.name) for item in fields(track) if item.name not in ("id", "state"))
    if type(track.id) is not int or not isinstance(track.state, str):
        raise TypeError("a track needs a number and a state")
    for value in numbers:
        _number(value)
    return track


def parse_line(line: bytes, *, first: bool) -> Any:
    """The `Header` of a first line, or the `Entry` of any other.

    Raises:
        SourceError: Not such a line.
    """
    try:
        values = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
        if not isinstance(values, dict):
            raise TypeError(f"an object is needed, got {type(values).__name__}")
        return _header(values) if first else _entry(values)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        what = "no header of a recording" if first else "no entry of a frame"
        raise SourceError(
            f"{what} ({type(error).__name__}: {error}); was the index edited, or cut?"
        ) from error


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _header(values: dict[str, Any]) -> Header:
    if values.get("schema") != SCHEMA:
        raise ValueError(f"schema {values.get('schema')!r}, this version reads {SCHEMA}")
    if values["encoding"] not in ENCODINGS:
        raise ValueError(f"encoding {values['encoding']!r}")
    setup = values.get("setup")
    return Header(
        encoding=values["encoding"],
        source=_text(values.get("source", "")),
        fps=None if values.get("fps") is None else _number(values["fps"]),
        camera=None if values.get("camera") is None else _text(values["camera"]),
        created_utc=_text(values.get("created_utc", "")),
        pitviper=_text(values.get("pitviper", "")),
        setup=None if setup is None else _setup(setup),
    )


def _setup(values: Any) -> Setup:
    made = Setup(**{item.name: values[item.name] for item in fields(Setup) if item.name in values})
    _text(made.model), _text(made.model_sha256), _whole(made.max_targets, 1, 1 << 31)
    if made.polarity not in POLARITIES:
        raise ValueError(f"polarity {made.polarity!r}")
    for given in (made.engine, made.monitor, made.tracker):
        if given is not None and not isinstance(given, dict):
            raise TypeError(f"an object is needed, got {given!r}")
    return made


def _entry(values: dict[str, Any]) -> Entry:
    sensor, host, utc = values["time"]
    height, width = values["shape"]
    found = values.get("found")
    if values["dtype"] not in DTYPES:
        raise ValueError(f"dtype {values['dtype']!r}")
    if found is not None and not isinstance(found, dict):
        raise TypeError("found must be an object")
    telemetry = values.get("telemetry")
    span = 1 << 63
    return Entry(
        index=_whole(values["index"], 0, span),
        time=FrameTime(
            None if sensor is None else _whole(sensor, -span, span),
            _whole(host, -span, span),
            _whole(utc, -span, span),
        ),
        name=None if values.get("name") is None else _text(values["name"]),
        flags=_texts(values.get("flags", [])),
        shape=(_whole(height, 1, _LARGEST_SIDE + 1), _whole(width, 1, _LARGEST_SIDE + 1)),
        dtype=values["dtype"],
        file=_whole(values["file"], 0, 1_000_000),
        at=_whole(values["at"], 0, span),
        crc32=_whole(values["crc32"], 0, 1 << 32),
        found=found,
        telemetry=None if telemetry is None else Telemetry(**telemetry),
    )


def _whole(value: Any, low: int, end: int) -> int:
    if type(value) is not int or not low <= value < end:
        raise ValueError(f"a whole number from {low} below {end} is needed, got {value!r:.40}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise ValueError(f"a finite number is needed, got {value!r:.40}")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is needed, got {value!r:.40}")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"a list of texts is needed, got {values!r:.40}")
    return tuple(_text(value) for value in values)
