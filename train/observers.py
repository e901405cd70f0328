# SPDX-License-Identifier: Apache-2.0
"""What a run tells while it goes: a line an epoch on stderr, TensorBoard scalars and pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pitviper.core.models import DetectorNetwork
from pitviper.train.data.store import StoredFrame
from pitviper.train.remarks import say
from pitviper.train.validate import Metrics, predict_standardised

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from pitviper.train.loop import TrainingRun


class ConsoleObserver:
    """One line per epoch and per evaluation on stderr; ``total`` is the number of epochs."""

    def __init__(self, total: int) -> None:
        self.total = total

    def epoch(self, epoch: int, losses: dict[str, float], lr: float, seconds: float) -> None:
        parts = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        left = (self.total - epoch) * seconds / 60
        print(
            f"epoch {epoch}/{self.total}  {parts}  lr {lr:.2e}  {seconds:.1f} s  about {left:.0f} min left",
            file=sys.stderr,
            flush=True,
        )

    def validation(self, epoch: int, metrics: Metrics) -> None:
        for name, values in metrics.items():
            print(f"  val {name}: {format_metrics(values)}", file=sys.stderr, flush=True)


class TensorBoardObserver:
    """Scalars of every epoch, and a picture of each validation set's first frames: frame, truth, probability.

    A file that cannot be written, on a full disk for instance, ends this account with a line, and not the training.
    """

    def __init__(
        self, folder: Path, run: TrainingRun, sets: Mapping[str, Sequence[StoredFrame]], *, pictures: int = 3
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: SummaryWriter | None = SummaryWriter(str(folder))
        self.run = run
        self.sets = sets
        self.pictures = pictures

    def epoch(self, epoch: int, losses: dict[str, float], lr: float, seconds: float) -> None:
        def write(writer: SummaryWriter) -> None:
            for name, value in losses.items():
                writer.add_scalar(f"train/{name}", value, epoch)
            writer.add_scalar("train/lr", lr, epoch)
            writer.add_scalar("train/seconds_per_epoch", seconds, epoch)

        self._try(write)

    def validation(self, epoch: int, metrics: Metrics) -> None:
        def write(writer: SummaryWriter) -> None:
            for name, values in metrics.items():
                for key, value in values.items():
                    writer.add_scalar(f"val_{name}/{key}", value, epoch)
                for index, frame in enumerate(self.sets[name][: self.pictures]):
                    writer.add_image(f"val_{name}/{index}", self._picture(frame), epoch, dataformats="HW")
            writer.flush()

        self._try(write)

    def _try(self, write: Callable[[SummaryWriter], None]) -> None:
        if self.writer is None:
            return
        try:
            write(self.writer)
        except OSError as error:
            self.writer = None
            say(f"TensorBoard's file cannot be written ({error}); the training goes on without it")

    def _picture(self, frame: StoredFrame) -> NDArray[np.uint8]:
        network = self.run.network
        assert isinstance(network, DetectorNetwork)
        network.eval()
        probability = predict_standardised(network, frame.image)
        image = frame.image.astype(np.float32)
        low, high = np.percentile(image, (1, 99.8))
        shown = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
        return (np.concatenate([shown, frame.mask, probability], axis=1) * 255).astype(np.uint8)


def format_metrics(values: dict[str, float]) -> str:
    """One line of the early metrics, in the units that the field prints."""
    text = f"IoU {100 * values['iou']:.2f}  nIoU {100 * values['niou']:.2f}"
    if "pd" in values:
        text += f"  Pd {100 * values['pd']:.2f}"
    return f"{text}  Fa {values['fa_per_mpix']:.1f} px/Mpx  false objects {values['false_objects_per_frame']:.3f}/frame"
