# SPDX-License-Identifier: Apache-2.0
"""`CameraProfile`: how the raw frames of one camera are to be read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.cameras.telemetry import Telemetry, decode, words_needed
from pitviper.sdk.errors import InputError

__all__ = ["CameraProfile", "RawLayout"]

_ORDERS: Final = ("little", "big")
_FORMATS: Final = ("gray16le", "yuyv422")


@dataclass(frozen=True)
class RawLayout:
    """Where picture and telemetry lie in a raw frame of one size. Row and column ranges are half open.

    Attributes:
        raw: (H, W) of the raw frame in pixels of 16 bits.
        rows: (first, end) of the picture's rows.
        columns: (first, end) of the picture's columns.
        telemetry: (first, end) of the telemetry rows, or None.
    """

    raw: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    telemetry: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, limit in (("rows", self.raw[0]), ("columns", self.raw[1]), ("telemetry", self.raw[0])):
            span = getattr(self, name)
            if span is not None and not 0 <= span[0] < span[1] <= limit:
                raise InputError(
                    f"{name} of a raw layout must be (first, end) within 0..{limit}, got {span!r}; raw is (H, W)"
                )


@dataclass(frozen=True)
class CameraProfile:
    """How raw 16-bit frames of a camera become pictures: nothing of it is guessed from the pixels.

    Attributes:
        name: What messages call it.
        valid_bits: Bits that a count may use, 8 to 16, at the lower end of the 16. Counts are never shifted or
            masked; one above them sets the flag ``above_valid_bits``.
        layouts: Sizes of raw frames with their crops; empty takes any size without a crop.
        byte_order: Order in which the camera sends the two bytes of a pixel. Capture interfaces read ``little``;
            for ``big`` the bytes are swapped back here.
        telemetry: Decoder of the telemetry rows (`telemetry.DECODERS`), or empty: cut off, not read.
        kelvin_per_count: Scale of radiometric output, or None for counts of no unit.
        fps: Frames per second, or None.
        pixel_format: What FFmpeg's V4L2 input is asked for: ``gray16le``, or ``yuyv422`` for cameras that send
            their words under that name.
        facts: One line for each fact and its source.
        unverified: What could not be verified.

    Raises:
        InputError: A value that cannot be.

    Example:
        >>> CameraProfile("mine", valid_bits=14, layouts=(RawLayout((514, 640), (0, 512), (0, 640), (512, 514)),)).name
        'mine'
    """

    name: str
    valid_bits: int = 16
    layouts: tuple[RawLayout, ...] = ()
    byte_order: str = "little"
    telemetry: str = ""
    kelvin_per_count: float | None = None
    fps: float | None = None
    pixel_format: str = "gray16le"
    facts: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"a camera profile needs a name, got {self.name!r}")
        if type(self.valid_bits) is not int or self.valid_bits not in range(8, 17):
            raise InputError(f"camera {self.name}: valid_bits must be 8 to 16, got {self.valid_bits!r}")
        for key, known in (("byte_order", _ORDERS), ("pixel_format", _FORMATS)):
            if getattr(self, key) not in known:
                raise InputError(
                    f"camera {self.name}: {key} must be one of {', '.join(known)}, got {getattr(self, key)!r}"
                )
        for key in ("fps", "kelvin_per_count"):
            value = getattr(self, key)
            if value is not None and not 0 < value < 1e6:
                raise InputError(f"camera {self.name}: {key} must be above 0, or None, got {value!r}")
        if self.telemetry:
            needed = words_needed(self.telemetry)
            for layout in self.layouts:
                span = layout.telemetry
                if span is not None and (span[1] - span[0]) * layout.raw[1] < needed:
                    raise InputError(
                        f"camera {self.name}: telemetry {self.telemetry} needs {needed} words, rows {span} of a raw "
                        f"frame {layout.raw} hold fewer"
                    )

    @property
    def units(self) -> str:
        """``counts``, or ``kelvin`` per count with the scale."""
        return "counts" if self.kelvin_per_count is None else f"{self.kelvin_per_count:g} kelvin per count"

    @property
    def largest(self) -> int:
        """Largest count that the valid bits hold: where the camera clips."""
        return (1 << self.valid_bits) - 1

    def unpack(self, raw: Any) -> tuple[NDArray[np.uint16], Telemetry | None]:
        """The picture and the telemetry of one raw frame. The input is never written to.

        Args:
            raw: uint16 [H, W] as a capture interface reads it (little endian), or the bytes as the camera sent
                them, whose number tells the layout.

        Returns:
            uint16 [h, w], the counts of the picture alone; and the telemetry, None where the frame has none.

        Raises:
            InputError: Not 16-bit words, or of a size that the profile does not know.
        """
        words = self._words(raw)
        layout = next((each for each in self.layouts if each.raw == words.shape), None)
        if layout is None and self.layouts:
            raise InputError(
                f"camera {self.name}: raw frames are {self._sizes()} (height x width), got "
                f"{words.shape[0]}x{words.shape[1]}; choose such a mode (video_size), or pass a profile of your own"
            )
        if self.byte_order == "big":
            words = words.byteswap()
        if layout is None:
            return words, None
        picture = words[slice(*layout.rows), slice(*layout.columns)]
        if layout.telemetry is None or not self.telemetry:
            return picture, None
        return picture, decode(self.telemetry, words[slice(*layout.telemetry)])

    def _words(self, raw: Any) -> NDArray[np.uint16]:
        if isinstance(raw, (bytes, bytearray, memoryview)):
            data = np.frombuffer(raw, np.uint8)
            fitting = [each.raw for each in self.layouts if 2 * each.raw[0] * each.raw[1] == data.size]
            if not fitting:
                known = self._sizes() if self.layouts else "of no stated size: pass uint16 [H, W]"
                raise InputError(
                    f"camera {self.name}: {data.size} bytes are no raw frame; its frames are {known}"
                )
            return data.view("<u2").astype(np.uint16, copy=False).reshape(fitting[0])
        if not isinstance(raw, np.ndarray) or raw.dtype != np.uint16 or raw.ndim != 2:
            given = f"{raw.dtype} {list(raw.shape)}" if isinstance(raw, np.ndarray) else type(raw).__name__
            raise InputError(
                f"camera {self.name}: a raw frame is uint16 [H, W] or bytes, got {given}; set the camera to its 16-bit "
                "output (Y16), or leave camera= out for pictures of 8 bits"
            )
        return raw

    def _sizes(self) -> str:
        return ", ".join(f"{height}x{width}" for height, width in (each.raw for each in self.layouts))

    def to_json(self) -> str:
        """The profile as a JSON document, for `load`."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CameraProfile:
        """Read a profile from a JSON file whose keys are the attributes of this class.

        Raises:
            InputError: The file cannot be read, or is no profile; the message says where.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls._from(values)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            # InputError is a ValueError: its sentence is kept behind the file's name.
            raise InputError(f"{os.fspath(path)} holds no camera profile: {error}") from error

    @classmethod
    def _from(cls, values: Any) -> CameraProfile:
        if not isinstance(values, dict) or "name" not in values:
            raise InputError('an object with at least "name" is needed')
        unknown = sorted(set(values) - {item.name for item in fields(cls)})
        if unknown:
            raise InputError(
                f"unknown key {unknown[0]!r}; known are {', '.join(item.name for item in fields(cls))}"
            )
        layouts = tuple(_layout(dict(each)) for each in values.get("layouts", ()))
        lines = {key: tuple(map(str, values.get(key, ()))) for key in ("facts", "unverified")}
        return cls(**{**values, "layouts": layouts, **lines})


def _layout(values: dict[str, Any]) -> RawLayout:
    spans: dict[str, Any] = {key: _span(key, value) for key, value in values.items()}
    return RawLayout(**spans)


def _span(key: str, value: Any) -> tuple[int, int] | None:
    if value is None and key == "telemetry":
        return None
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(each, int) and not isinstance(each, bool) for each in value)
    ):
        raise InputError(f"{key} must be two whole numbers, got {value!r}")
    return value[0], value[1]
