# SPDX-License-Identifier: Apache-2.0
"""Telemetry rows of thermal cameras: what they say about the shutter, the gain control and the frame's number.

The rows come as uint16 words in machine byte order, row after row. Numbers of 32 bits have their low word first.
Outside bytes are never trusted: any content gives a `Telemetry`, and only too few words are an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from numpy.typing import NDArray

from pitviper.sdk.errors import InputError

__all__ = ["DECODERS", "Telemetry", "decode", "words_needed"]

Words = NDArray[Any]
ShutterState = Literal["never", "imminent", "running", "done"]
_STATES: Final[tuple[ShutterState, ...]] = ("never", "imminent", "running", "done")


@dataclass(frozen=True)
class Telemetry:
    """What the camera itself says of one frame; None where it says nothing.

    Attributes:
        frame_counter: The camera's own number of the frame.
        shutter: State of the shutter correction (FFC, NUC): ``never`` yet, ``imminent``, ``running`` or ``done``.
        last_shutter: A number that changes with each correction (time in milliseconds, or a frame's number).
        agc: Whether the camera's gain control is on: the frame then holds a picture, not counts.
    """

    frame_counter: int | None = None
    shutter: ShutterState | None = None
    last_shutter: int | None = None
    agc: bool | None = None


def lepton(words: Words) -> Telemetry:
    """Row A of the Lepton: status in words 3-4, frame counter in 20-21, time of the last correction in 30-31.

    Source: FLIR, Lepton Engineering Datasheet, document 500-0659-00-09 rev. 203, table 3 (status bits 4-5: FFC
    state, bit 12: AGC). The order of the two words of a number is that of two open readers (flirpy, the Cacophony
    thermal recorder), not of the datasheet's text.
    """
    status = _long(words, 3)
    return Telemetry(
        frame_counter=_long(words, 20),
        shutter=_STATES[status >> 4 & 3],
        last_shutter=_long(words, 30),
        agc=bool(status >> 12 & 1),
    )


def boson(words: Words) -> Telemetry:
    """First telemetry row of the Boson: frame counter at byte 84, counter at the last correction at byte 88.

    Source: an open reader of Boson 640 telemetry (Elphel, ``Boson640Telemetry.java``). NOT verified against the
    vendor's manual, and the status bits (byte 76) are not decoded for that reason. A correction is seen by the
    change of the second number, whatever the order of its bytes is.
    """
    return Telemetry(frame_counter=_long(words, 42), last_shutter=_long(words, 44))


def seek(words: Words) -> Telemetry:
    """First row of a Seek Compact frame: frame type in word 10, frame counter in word 40.

    Source: the open driver libseek-thermal. Type 3 is a picture, 1 one of the closed shutter, 4 the first frame
    after power-up. Other types have no known meaning and are taken as no picture. NOT verified with the vendor.
    """
    return Telemetry(
        frame_counter=int(words[40]),
        shutter="done" if int(words[10]) == 3 else "running",
    )


DECODERS: Final[dict[str, tuple[Callable[[Words], Telemetry], int]]] = {
    "boson": (boson, 46),
    "lepton": (lepton, 32),
    "seek": (seek, 41),
}
"""Name of a layout -> its decoder and the number of words that it reads."""


def words_needed(name: str) -> int:
    """Words that a decoder reads.

    Raises:
        InputError: There is no decoder of that name.
    """
    if name not in DECODERS:
        raise InputError(f"telemetry {name!r} is not known; there are {', '.join(DECODERS)}, or leave it out")
    return DECODERS[name][1]


def decode(name: str, rows: Words) -> Telemetry:
    """Read the telemetry rows of one frame.

    Args:
        name: A key of `DECODERS`.
        rows: uint16 [T, W], the telemetry rows in the order in which they were sent.

    Raises:
        InputError: No such decoder, or fewer words than it reads.
    """
    needed = words_needed(name)
    if rows.size < needed:
        raise InputError(f"telemetry of {name} needs {needed} words, got {rows.size}")
    return DECODERS[name][0](rows.reshape(-1))


def _long(words: Words, index: int) -> int:
    return int(words[index]) | int(words[index + 1]) << 16
