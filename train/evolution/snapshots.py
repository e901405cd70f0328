# SPDX-License-Identifier: Apache-2.0
"""A few labels as they were after each update, for people to look at: one sheet, and one moving picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pitviper.core.report.sheet import draw_window
from pitviper.core.spacing import evenly_spaced
from pitviper.train.data.crops import cut_around
from pitviper.train.evolution.pools import LabelPools
from pitviper.train.evolution.update import LABEL_THRESHOLD
from pitviper.train.points.source import PointFrame

_WINDOW = 32
_PICTURE = 160
_GAP = 10
_TEXT = 24
_NAME = 22
_INK = (32, 36, 42)
_WAITING = (232, 234, 237)
_LEGEND = "labels above 0.5: orange; truth, where there is a mask: green; empty: waiting"

# Updates that are kept; with more, every second one goes, so that a long run needs no more memory than a short one.
_MOST = 48

# Of the moving picture, in milliseconds: the whole run, the shortest that anyone sees, and the end.
_RUN_MS = 12_000
_SHORTEST_MS = 60
_END_MS = 3_000


class Snapshots:
    """Windows of 32x32 pixels around the first point of some frames.

    Args:
        frames: Of which some with points are taken, evenly spaced in the order of the data: half of those that had
            outlines, half of the others, as far as there are.
        count: Largest number of frames.
    """

    def __init__(self, frames: Sequence[PointFrame], *, count: int = 6) -> None:
        labelled = [each for each in frames if len(each.points)]
        easy = [each for each in labelled if each.found.accepted.all()]
        hard = [each for each in labelled if not each.found.accepted.all()]
        first = evenly_spaced(easy, max(count // 2, count - len(hard)))
        self.frames = first + evenly_spaced(hard, count - len(first))
        self.epochs: list[int] = []
        self.labels: list[NDArray[np.float16]] = []

    def take(self, epoch: int, pools: LabelPools) -> None:
        """Keep the windows as they are before an epoch; of a waiting frame there is none (-1)."""
        windows = np.full((len(self.frames), _WINDOW, _WINDOW), -1.0, np.float16)
        for index, each in enumerate(self.frames):
            label = pools.labels.get(each.frame.name)
            if label is not None:
                windows[index] = _window(label, each)
        self.epochs.append(epoch)
        self.labels.append(windows)
        if len(self.epochs) > _MOST:
            del self.epochs[1::2], self.labels[1::2]

    def draw(self, *, columns: int = 8) -> Image.Image:
        """A row for each frame and a column for each of some updates, the first and the last among them."""
        chosen = evenly_spaced(range(len(self.epochs)), columns)
        cell = _PICTURE + _GAP
        sheet = Image.new(
            "RGB",
            (_GAP + max(len(chosen), 3) * cell, 2 * _TEXT + len(self.frames) * (cell + _TEXT)),
            (255, 255, 255),
        )
        draw = ImageDraw.Draw(sheet)
        _text(draw, _GAP, 4, _LEGEND)
        for column, update in enumerate(chosen):
            _text(draw, _GAP + column * cell, _TEXT, f"epoch {self.epochs[update]}")
        for row, each in enumerate(self.frames):
            top = 2 * _TEXT + row * (cell + _TEXT)
            for column, update in enumerate(chosen):
                sheet.paste(self._picture(each, self.labels[update][row]), (_GAP + column * cell, top))
            _text(draw, _GAP, top + _PICTURE + 3, each.frame.name)
        return sheet

    def to_png(self) -> bytes:
        """``draw`` as the content of a PNG file."""
        target = io.BytesIO()
        self.draw().save(target, format="PNG")
        return target.getvalue()

    def to_animation(self) -> bytes:
        """All kept updates as an animated PNG, which browsers play and other programs show the first picture of.

        A picture lasts as long, in share of the run, as its labels did; the last one three seconds.
        """
        target = io.BytesIO()
        first, *others = (self._moment(index) for index in range(len(self.epochs)))
        shares = np.diff(self.epochs) / max(self.epochs[-1] - self.epochs[0], 1)
        lasting = [max(round(_RUN_MS * float(share)), _SHORTEST_MS) for share in shares]
        first.save(
            target, format="PNG", save_all=True, append_images=others, duration=[*lasting, _END_MS], loop=0
        )
        return target.getvalue()

    def _moment(self, update: int) -> Image.Image:
        """All frames beside each other as they were after an update."""
        cell = _PICTURE + _GAP
        width = _GAP + max(len(self.frames), 4) * cell
        picture = Image.new("RGB", (width, 2 * _TEXT + _PICTURE + _TEXT), (255, 255, 255))
        draw = ImageDraw.Draw(picture)
        _text(draw, _GAP, 4, _LEGEND)
        _text(draw, _GAP, _TEXT, f"epoch {self.epochs[update]}")
        for index, each in enumerate(self.frames):
            left = _GAP + index * cell
            picture.paste(self._picture(each, self.labels[update][index]), (left, 2 * _TEXT))
            _text(draw, left, 2 * _TEXT + _PICTURE + 3, _shortened(each.frame.name))
        return picture

    def state_dict(self) -> dict[str, Tensor]:
        """Epochs [T] and windows [T, N, 32, 32]."""
        if not self.epochs:
            return {}
        return {"epochs": torch.tensor(self.epochs), "labels": torch.from_numpy(np.stack(self.labels))}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self.epochs = state["epochs"].tolist() if state else []
        self.labels = list(state["labels"].numpy().copy()) if state else []

    def _picture(self, each: PointFrame, label: NDArray[np.float16]) -> Image.Image:
        if label[0, 0] < 0:
            return Image.new("RGB", (_PICTURE, _PICTURE), _WAITING)
        frame = np.asarray(_window(each.frame.image, each), np.float32)
        truth = np.zeros((_WINDOW, _WINDOW), np.bool_)
        if each.truth is not None:
            truth = np.asarray(_window(each.truth, each), np.bool_)
        return draw_window(frame, truth, label > LABEL_THRESHOLD, side=_PICTURE)


def _window(array: NDArray[np.generic], each: PointFrame) -> NDArray[np.generic]:
    row, column = each.points[0]
    return cut_around(array, int(row), int(column), _WINDOW)


def _shortened(name: str) -> str:
    """The end of a name that is wider than a picture; its data set is in the sheet."""
    return name if len(name) <= _NAME else f"...{name[3 - _NAME :]}"


def _text(draw: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    draw.text((x, y), text, fill=_INK, font=ImageFont.load_default(14))
