# SPDX-License-Identifier: Apache-2.0
"""Masks that lie beside their targets are found, whatever the camera's counts, and said before a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pitviper.core.datasets import DatasetError
from pitviper.core.synthetic import random_scene_frame
from pitviper.train.config import SupervisedConfig
from pitviper.train.data.registration import MaskOffset, mask_offsets, offset_remark, target_offsets
from pitviper.train.data.store import StoredFrame, make_frame
from pitviper.train.run import train_supervised

Make = Callable[..., SupervisedConfig]
TOLERANCE_PX = 0.12
"""The light is measured above noise of a tenth of its peak, which moves the centroid of one target by about this."""


def scene(
    seed: int, shift: tuple[float, float] = (0.0, 0.0), *, contrast: float = 400.0, side: int = 72
) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Four Gaussian targets and masks of 3x3 pixels, whose centres lie ``shift`` from those of the light."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    frame, mask = rng.normal(2000.0, 10.0, (side, side)), np.zeros((side, side), np.bool_)
    for top, left in ((17, 17), (17, 53), (53, 17), (53, 53)):
        row, column = top + int(rng.integers(-4, 5)), left + int(rng.integers(-4, 5))
        mask[row - 1 : row + 2, column - 1 : column + 2] = True
        far = (rows - row + shift[0]) ** 2 + (columns - column + shift[1]) ** 2
        frame += contrast * np.exp(-far / 2)
    return np.rint(frame).astype(np.uint16), mask


def stored(
    count: int, shift: tuple[float, float] = (0.0, 0.0), name: str = "set", **how: float
) -> list[StoredFrame]:
    return [make_frame(f"{name}/{i}", *scene(i, shift, **how)) for i in range(count)]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (-0.5, -0.5), (1.0, 0.0), (0.0, -0.3)])
@pytest.mark.parametrize("contrast", [400.0, -400.0])
def test_the_offset_is_measured(shift: tuple[float, float], contrast: float) -> None:
    (found,) = mask_offsets(stored(12, shift, contrast=contrast)).values()
    assert found.targets == 48
    assert (found.rows, found.columns) == pytest.approx(shift, abs=TOLERANCE_PX / 2)
    assert found.notable is (shift != (0.0, 0.0))


def test_gain_and_offset_of_the_camera_do_not_count() -> None:
    frame, mask = scene(3, (-0.5, -0.5))
    plain = target_offsets(make_frame("set/0", frame, mask))
    other = target_offsets(make_frame("set/0", frame.astype(np.float32) * 7 + 300, mask))
    assert len(plain) == 4
    assert np.abs(plain - other).max() < 1e-2, "half precision of the stored frame"


def test_each_set_has_its_own_and_a_frame_that_comes_twice_counts_once() -> None:
    off, fine = stored(8, (-0.5, -0.5), "off"), stored(8, name="fine")
    found = mask_offsets([*off, *off, *fine])
    assert found["off"].notable
    assert not found["fine"].notable
    assert found["off"].targets == 32


def test_what_cannot_be_measured_is_left_out() -> None:
    frame, mask = scene(0)
    empty, blind = (
        make_frame("set/0", frame, mask & False),
        make_frame("set/1", frame * 0 + 2000 + frame % 9, mask),
    )
    border = np.zeros_like(mask)
    border[:3, 20:23] = True
    together = np.zeros_like(mask)
    together[30:33, 30:33] = together[30:33, 36:39] = True
    cut, close = make_frame("set/2", frame, border), make_frame("set/3", frame, together)
    assert [len(target_offsets(each)) for each in (empty, blind, cut, close)] == [0, 0, 0, 0]
    assert mask_offsets([empty, blind, cut, close]) == {}
    assert mask_offsets([]) == {}


def test_few_targets_say_nothing() -> None:
    (found,) = mask_offsets(stored(4, (-0.5, -0.5))).values()
    assert found.targets == 16
    assert not found.notable


def test_masks_of_synthetic_scenes_lie_over_their_targets() -> None:
    frames = [make_frame(f"synthetic/{i}", *random_scene_frame(i, (128, 128))) for i in range(60)]
    (found,) = mask_offsets(frames).values()
    assert found.targets > 20
    assert not found.notable


def test_the_remark_names_sides_and_the_option() -> None:
    text = offset_remark("mine", MaskOffset(-0.5, 0.25, 0.02, 99))
    assert "the masks of mine lie 0.50 px up and 0.25 px right (+-0.02) of the light of their targets" in text
    assert "--upright mine" in text


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A data set on disk whose masks lie half a pixel up and left of their targets."""
    root = tmp_path / "beside"
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    names = [f"{i:02}" for i in range(8)]
    for i, name in enumerate(names):
        frame, mask = scene(i, (-0.5, -0.5))
        Image.fromarray(frame).save(root / "images" / f"{name}.png")
        Image.fromarray(mask).convert("L").save(root / "masks" / f"{name}.png")
    (root / "splits/train.txt").write_text("\n".join(names[:6]))
    (root / "splits/val.txt").write_text("\n".join(names[6:]))
    return root


def test_a_training_says_so_unless_its_crops_are_upright(
    beside: Path, config: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"data": (str(beside),), "epochs": 1}
    train_supervised(config(**settings), tmp_path / "turned")
    assert "the masks of beside lie 0.5" in capsys.readouterr().err
    train_supervised(config(**settings, upright=("beside",)), tmp_path / "upright")
    assert "the masks of beside" not in capsys.readouterr().err


def test_upright_names_a_set_that_is_trained_with(tiny: Path, config: Make, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"--upright other: no data set of that name is trained with; there is tiny"
    ):
        train_supervised(config(upright=("tiny", "other")), tmp_path / "run")
