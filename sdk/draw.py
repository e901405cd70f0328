# SPDX-License-Identifier: Apache-2.0
"""Frames and targets for human eyes: tone mapping, brackets, labels. For looking at, never for measuring."""

from __future__ import annotations

import datetime
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pitviper.sdk.errors import InputError
from pitviper.sdk.frames import check_frame
from pitviper.sdk.sources.frame import Frame
from pitviper.sdk.trails import Trails, diamond_box, track_colour

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections, Target

__all__ = ["ToneMap", "annotate"]

_MARK = (120, 255, 90)  # bright in luma too, so that it survives 4:2:0 chroma
_UNTRACKED = (150, 150, 150)
_SHADE = (0, 0, 0)
_TEXT = (235, 235, 235)
_GAP_PX = 3.0  # free pixels of the frame between a target and its brackets
_LEAST_HALF_PX = 6.0
_LEAST_HALF_SHOWN_PX = 9.0  # in the enlarged picture
_MOST_LABELS = 40
_SAMPLES = 20_000
_READABLE_WIDTH = 640
_Box = tuple[float, float, float, float]
_Colour = tuple[int, int, int]


class ToneMap:
    """Counts to 8 bits by robust percentiles that follow the scene slowly.

    8-bit frames pass unchanged. Others: the 0.5 and 99.9 percentiles, widened by a tenth, smoothed over time with
    the weight `follow` per frame; a jump of more than half of the range (a cut, a shutter) is taken over at once.
    """

    def __init__(self, *, follow: float = 0.08) -> None:
        self._follow = follow
        self._range: tuple[float, float] | None = None

    def __call__(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """Image [H, W] of any real dtype as uint8 [H, W]; what is not finite is black."""
        if image.dtype == np.uint8:
            return np.asarray(image, dtype=np.uint8)
        values = np.nan_to_num(image.astype(np.float32), nan=-np.inf, posinf=-np.inf, neginf=-np.inf)
        low, high = self._updated(values)
        scaled = (values - np.float32(low)) * np.float32(255 / (high - low))
        shown: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
        return shown

    def _updated(self, values: NDArray[np.float32]) -> tuple[float, float]:
        step = max(1, int((values.size / _SAMPLES) ** 0.5))
        sample = values[::step, ::step]
        sample = sample[np.isfinite(sample)]
        low, high = (
            (float(edge) for edge in np.percentile(sample, (0.5, 99.9))) if sample.size else (0.0, 1.0)
        )
        spread = max(high - low, 1e-6 * max(1.0, abs(high)))
        low, high = low - 0.05 * spread, high + 0.1 * spread
        if self._range is not None:
            before_low, before_high = self._range
            moved = max(abs(low - before_low), abs(high - before_high))
            if moved <= 0.5 * max(before_high - before_low, high - low):
                low = before_low + self._follow * (low - before_low)
                high = before_high + self._follow * (high - before_high)
        self._range = (low, high)
        return self._range


def annotate(
    frame: Any,
    detections: Detections,
    *,
    tone: ToneMap | None = None,
    scale: int | None = None,
    trails: Trails | None = None,
) -> NDArray[np.uint8]:
    """The frame with its targets marked, as a picture to look at.

    Each target gets corner brackets with free space around it, so that its own pixels stay as they are, and its
    score and SNR beside them. A line below the picture gives frame, time and count; it covers nothing. Behind a
    tracker the targets of tracks have the colour and the id of their track, the others are gray, and a coasting track
    is a diamond.

    Args:
        frame: What `Detector.detect` took, an array [H, W] or the path of an image, or a `Frame` of a stream.
        detections: Its result.
        tone: Tone mapping that lives over the frames of a sequence; None maps this frame alone.
        scale: Whole factor of enlargement (pixels stay square); None enlarges frames narrower than 640 pixels.
        trails: Trails that live over the frames of a sequence; None draws the tracks of this frame alone.

    Returns:
        uint8 [H * scale + line, W * scale, 3], RGB; ``PIL.Image.fromarray(picture).save("found.png")`` keeps it.

    Raises:
        InputError: No frame, or one of another size than the result's. SourceError: A path that cannot be read.

    Example:
        >>> from PIL import Image
        >>> from pitviper import sdk
        >>> with sdk.Detector() as detector:  # doctest: +SKIP
        ...     found = detector.detect("frame.png")
        ...     Image.fromarray(sdk.annotate("frame.png", found)).save("found.png")
    """
    image = frame.image if isinstance(frame, Frame) else check_frame(frame).pixels
    if image.shape != detections.shape:
        raise InputError(f"the frame is {image.shape} (H, W), and the result is of one of {detections.shape}")
    gray = (tone or ToneMap())(image)
    factor = scale or max(1, -(-_READABLE_WIDTH // gray.shape[1]))
    if factor > 1:
        gray = gray.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = gray.shape
    font = _font(max(13, width // 60))
    line = font.getbbox("Ag|")[3] + 6
    canvas = Image.new("RGB", (width, int(height + line)), (18, 18, 18))
    picture = Image.fromarray(gray).convert("RGB")
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    weight = max(1.0, gray.shape[1] / factor / _READABLE_WIDTH)
    boxes = [_bracket_box(target, factor, weight) for target in detections]
    if detections.tracks is not None:
        trails = trails or Trails()
        trails.follow(detections)
        trails.draw(pen, detections, factor)
        for box in boxes:
            # A trail must not cover the pixels of a target.
            canvas.paste(picture.crop(box), (int(box[0]), int(box[1])))
        canvas.paste((18, 18, 18), (0, height, width, canvas.height))
    for target, box in zip(detections, boxes, strict=True):
        _brackets(pen, box, max(1 if factor == 1 else 2, round(weight)), _colour(target, detections))
    order = np.argsort(-detections.score, kind="stable")[:_MOST_LABELS]
    taken = list(boxes)
    for index in order:
        target = detections[int(index)]
        text = _text(target)
        _label(pen, text, boxes[int(index)], taken, (width, height), font, _colour(target, detections))
    for track in detections.tracks or ():
        inside = 0 <= track.x * factor < width and 0 <= track.y * factor < height
        if track.state == "coasting" and inside:
            box, colour = diamond_box(track, factor), track_colour(track.id)
            taken.append(box)
            _label(pen, f"#{track.id}", box, taken, (width, height), font, colour)
    pen.text((5, height + 2), _status(frame, detections), fill=_TEXT, font=font)
    return np.asarray(canvas)


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _bracket_box(target: Target, factor: int, weight: float) -> _Box:
    """Corners of the brackets in the enlarged picture, larger by ``weight`` in pictures that are shown smaller."""
    x0, y0, x1, y1 = target.xyxy
    least = max(_LEAST_HALF_PX * weight, _LEAST_HALF_SHOWN_PX / factor)
    half_x = max((x1 - x0) / 2 + _GAP_PX * weight, least)
    half_y = max((y1 - y0) / 2 + _GAP_PX * weight, least)
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    return (
        round((middle_x - half_x) * factor),
        round((middle_y - half_y) * factor),
        round((middle_x + half_x) * factor) - 1,
        round((middle_y + half_y) * factor) - 1,
    )


def _colour(target: Target, detections: Detections) -> _Colour:
    if target.track_id >= 0:
        return track_colour(target.track_id)
    return _MARK if detections.tracks is None else _UNTRACKED


def _text(target: Target) -> str:
    number = f"#{target.track_id}  " if target.track_id >= 0 else ""
    snr = f"  SNR {target.snr:.0f}" if np.isfinite(target.snr) else ""
    return f"{number}{target.score:.2f}{snr}"


def _brackets(pen: ImageDraw.ImageDraw, box: _Box, line: int, mark: _Colour) -> None:
    left, top, right, bottom = box
    arm = max(3.0, min(right - left, bottom - top) * 0.28)
    corners = ((left, top, 1, 1), (right, top, -1, 1), (left, bottom, 1, -1), (right, bottom, -1, -1))
    for colour, width in ((_SHADE, max(3, line + 1)), (mark, line)):
        for x, y, to_x, to_y in corners:
            pen.line([(x + to_x * arm, y), (x, y), (x, y + to_y * arm)], fill=colour, width=width)


def _label(
    pen: ImageDraw.ImageDraw,
    text: str,
    box: _Box,
    taken: list[_Box],
    size: tuple[int, int],
    font: Any,
    colour: _Colour,
) -> None:
    """A text at the first free place around the brackets; nothing where all places are taken."""
    edges = pen.textbbox((0, 0), text, font=font, stroke_width=1)
    wide, tall = edges[2] - edges[0], edges[3] - edges[1]
    left, top, right, bottom = box
    places = (
        (left, top - tall - 3),
        (left, bottom + 4),
        (right + 5, (top + bottom - tall) / 2),
        (left - wide - 5, (top + bottom - tall) / 2),
        (right - wide, top - tall - 3),
        (right - wide, bottom + 4),
    )
    for place_x, place_y in places:
        x = min(max(place_x, 0), size[0] - wide)
        y = min(max(place_y, 0), size[1] - tall)
        here = (x, y, x + wide, y + tall)
        if not any(_meet(here, other) for other in taken):
            pen.text(
                (x - edges[0], y - edges[1]), text, fill=colour, font=font, stroke_width=1, stroke_fill=_SHADE
            )
            taken.append(here)
            return


def _meet(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _status(frame: Any, detections: Detections) -> str:
    count = f"{len(detections)} target" + ("" if len(detections) == 1 else "s")
    if detections.tracks is not None:
        count += f"   {len(detections.tracks)} track" + ("" if len(detections.tracks) == 1 else "s")
    flags = "".join(f"   {flag}" for flag in detections.flags)
    return "   ".join([*_which(frame, detections), count]) + flags


def _which(frame: Any, detections: Detections) -> list[str]:
    """The frame's number and time, or the name of a still picture: nobody knows when that was taken."""
    if not isinstance(frame, Frame):
        return [detections.name] if detections.name else []
    shown = [f"frame {frame.index}"]
    if frame.name is not None:
        shown.append(frame.name)
    elif frame.time.sensor_ns is not None:
        seconds = frame.time.sensor_ns / 1e9
        shown.append(f"{int(seconds // 60):02d}:{seconds % 60:06.3f}")
    else:
        utc = datetime.datetime.fromtimestamp(frame.time.utc_ns / 1e9, tz=datetime.timezone.utc)
        shown.append(utc.strftime("%H:%M:%S.%f")[:-3] + " UTC")
    return shown
