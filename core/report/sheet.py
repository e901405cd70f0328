# SPDX-License-Identifier: Apache-2.0
"""The overlay sheet: the worst misses and false alarms, enlarged, truth green and prediction orange. Pillow only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from pitviper.core.evaluation import Evaluation, Event

Colour = tuple[int, int, int]

TRUTH: Colour = (0, 214, 92)
PREDICTION: Colour = (255, 120, 20)
_PAPER: Colour = (255, 255, 255)
_INK: Colour = (32, 36, 42)
_FAINT: Colour = (112, 118, 126)
_EMPTY: Colour = (232, 234, 237)

_PICTURE = 280
_GAP = 18
_CAPTION = 60
_HEADING = 46
_MARGIN = 28
_LINE = 2
# Farther than this many pixels, the nearest object of the other side has nothing to do with an event.
_NEAR = 20.0
# Shares of the pixels of a window that are shown black and white: one hot target must not darken its surroundings.
_STRETCH = (1.0, 99.7)


def draw_sheet(evaluation: Evaluation, *, title: str, columns: int = 5, rows: int = 2) -> Image.Image:
    """Draw the worst misses and the worst false alarms, each cut out of its frame and enlarged.

    Args:
        evaluation: Its events, worst first.
        title: Printed on top.
        columns: Pictures side by side.
        rows: At most this many rows of misses and of false alarms.

    Returns:
        RGB image.
    """
    total_false = evaluation.metrics.predicted - evaluation.metrics.found
    total_missed = evaluation.metrics.targets - evaluation.metrics.found
    limit = columns * rows
    blocks = (
        ("Missed targets", evaluation.misses[:limit], total_missed, "largest first"),
        ("False alarms", evaluation.false_alarms[:limit], total_false, "highest probability first"),
    )
    width = 2 * _MARGIN + columns * (_PICTURE + _GAP) - _GAP
    height = (
        2 * _MARGIN + 40 + sum(_HEADING + _rows(len(events), columns) * _cell() for _, events, _, _ in blocks)
    )
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text(
        (_MARGIN, _MARGIN - 6), _fit(title, _font(24), width - 2 * _MARGIN - 300), fill=_INK, font=_font(24)
    )
    _legend(draw, width - _MARGIN)
    top = _MARGIN + 40
    for name, events, total, order in blocks:
        heading = f"{name}: {total}" + (f" ({len(events)} shown, {order})" if events else "")
        draw.text((_MARGIN, top + 10), heading, fill=_INK, font=_font(18))
        top += _HEADING
        for index, event in enumerate(events):
            x = _MARGIN + (index % columns) * (_PICTURE + _GAP)
            _place(sheet, event, x, top + index // columns * _cell())
        top += _rows(len(events), columns) * _cell()
    return sheet


def draw_event(event: Event) -> Image.Image:
    """One event as an RGB picture of 280 x 280 pixels, its window enlarged by nearest neighbour."""
    return draw_window(event.frame, event.truth, event.predicted)


def draw_window(
    frame: NDArray[np.generic],
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    *,
    side: int = _PICTURE,
) -> Image.Image:
    """A window [h, w] of a frame, enlarged to an RGB picture of this side, truth and prediction outlined."""
    height, width = frame.shape
    factor = max(1, side // max(height, width))
    grey = Image.fromarray(_stretch(frame)).resize(
        (width * factor, height * factor), Image.Resampling.NEAREST
    )
    picture = Image.new("RGB", (side, side), _EMPTY)
    left, top = (side - width * factor) // 2, (side - height * factor) // 2
    picture.paste(grey.convert("RGB"), (left, top))
    # Truth outside its border and prediction inside: where they coincide both are seen, and so is a single pixel.
    for mask, colour, inside in ((truth, TRUTH, False), (predicted, PREDICTION, True)):
        picture.paste(colour, (left - _LINE, top - _LINE), _outline(mask, factor, inside=inside))
    return picture


def caption(event: Event) -> tuple[str, str, str]:
    """Frame name; x, y (pixels), area, probability; distance to the nearest of the other side if it is near."""
    numbers = f"({event.x:.0f}, {event.y:.0f})   {event.area_px} px   p {event.peak:.2f}"
    if event.nearest_px is None or event.nearest_px > _NEAR:
        return event.name, numbers, ""
    other = "prediction" if event.kind == "miss" else "target"
    return event.name, numbers, f"{other} {event.nearest_px:.1f} px off"


def _place(sheet: Image.Image, event: Event, x: int, y: int) -> None:
    sheet.paste(draw_event(event), (x, y))
    draw = ImageDraw.Draw(sheet)
    name, numbers, nearest = caption(event)
    draw.text((x, y + _PICTURE + 4), _fit(name, _font(14), _PICTURE), fill=_INK, font=_font(14))
    draw.text((x, y + _PICTURE + 22), numbers, fill=_FAINT, font=_font(13))
    if nearest:
        draw.text((x, y + _PICTURE + 39), nearest, fill=_FAINT, font=_font(13))


def _outline(mask: NDArray[np.bool_], factor: int, *, inside: bool) -> Image.Image:
    """Border of a mask [h, w] enlarged by ``factor``, as a Pillow mask; outside it runs around its pixels."""
    solid = Image.fromarray(mask.astype(np.uint8) * 255)
    # A frame of one pixel lets the border run outside the window's edge, where it is cut off evenly.
    padded = ImageOps.expand(solid, border=1, fill=0)
    large = padded.resize((padded.width * factor, padded.height * factor), Image.Resampling.NEAREST)
    size = 2 * _LINE + 1
    if inside:
        border = ImageChops.subtract(large, large.filter(ImageFilter.MinFilter(size)))
    else:
        border = ImageChops.subtract(large.filter(ImageFilter.MaxFilter(size)), large)
    return border.crop(
        (factor - _LINE, factor - _LINE, border.width - factor + _LINE, border.height - factor + _LINE)
    )


def _stretch(frame: NDArray[np.generic]) -> NDArray[np.uint8]:
    values = np.asarray(frame, np.float64)
    low, high = np.percentile(values, _STRETCH)
    scaled = (values - low) / (high - low if high > low else 1.0)
    return np.asarray(np.rint(np.clip(scaled, 0.0, 1.0) * 255.0), np.uint8)


def _legend(draw: ImageDraw.ImageDraw, right: int) -> None:
    font = _font(16)
    for text, colour in (("prediction", PREDICTION), ("truth", TRUTH)):
        length = int(draw.textlength(text, font=font))
        draw.text((right - length, _MARGIN), text, fill=_INK, font=font)
        draw.rectangle(
            (right - length - 24, _MARGIN + 3, right - length - 10, _MARGIN + 17), outline=colour, width=3
        )
        right -= length + 48


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut a text that is too long in its middle: the end of a file name tells frames apart."""
    if font.getlength(text) <= width:
        return text
    keep = len(text)
    while keep > 2 and font.getlength(_shortened(text, keep)) > width:
        keep -= 1
    return _shortened(text, keep)


def _shortened(text: str, keep: int) -> str:
    return f"{text[: keep // 2]}...{text[len(text) - (keep - keep // 2) :]}"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _rows(count: int, columns: int) -> int:
    return -(-count // columns)


def _cell() -> int:
    return _PICTURE + _CAPTION + _GAP // 2
