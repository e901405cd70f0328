# SPDX-License-Identifier: Apache-2.0
"""Hard negatives: crops of frames without targets go where a model sees some; frames with targets stay as they are."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pitviper.core.manifest import Manifest, OperatingPoint
from pitviper.core.models import DetectorNetwork, create_model
from pitviper.core.weights import describe_architecture, write_package
from pitviper.train.config import SupervisedConfig
from pitviper.train.data.augment import AugmentConfig
from pitviper.train.data.crops import CropDataset
from pitviper.train.data.mining import mine_clutter
from pitviper.train.data.store import StoredFrame, make_frame
from pitviper.train.hardware import Hardware
from pitviper.train.run import train_supervised

SPOT = (70, 23)


class Bright(DetectorNetwork):
    """Takes every pixel far above its frame for a target."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.required_multiple = 1, 1
        self.calls = 0
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def encode(self, x: Tensor) -> list[Tensor]:
        self.calls += 1
        return [x]

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        return OrderedDict(final=10.0 * (stages[0] - 4.0))


def frame(seed: int, *, target: bool) -> StoredFrame:
    rng = np.random.default_rng(seed)
    image = rng.integers(900, 1100, (96, 96)).astype(np.uint16)
    image[SPOT] = 9000
    mask = np.zeros((96, 96), np.bool_)
    mask[10, 80] = target
    return make_frame(f"set/{seed}", image, mask)


def test_clutter_is_what_the_model_sees_where_nothing_is() -> None:
    empty, labelled = frame(0, target=False), frame(1, target=True)
    network = Bright()
    mined = mine_clutter([empty, labelled, empty], [network.eval()], threshold=0.05)
    assert [each.clutter.tolist() for each in mined] == [[list(SPOT)], [], [list(SPOT)]]
    assert mined[1] is labelled
    assert network.calls == 1, "a frame that counts twice is looked at once, one with targets never"
    for before, after in ((empty, mined[0]), (labelled, mined[1])):
        assert after.image is before.image
        assert not after.targets.any() or after is labelled


def test_clutter_beside_targets_is_mined_where_it_is_asked_for() -> None:
    labelled = frame(1, target=True)
    near = replace(labelled, targets=np.array([[SPOT[0], SPOT[1] + 4]], np.int32))
    mined = mine_clutter([labelled, near], [Bright().eval()], threshold=0.05, beside=True)
    assert [each.clutter.tolist() for each in mined] == [[list(SPOT)], []], (
        "what lies at a target is no clutter"
    )
    crops = CropDataset(
        mined[:1], size=24, target_share=1.0, augmentation=AugmentConfig(warp=0.0, photometric=0.0), seed=0
    )
    items = [crops[draw, 0] for draw in range(40)]
    over_targets = sum(bool(mask.any()) for _, mask in items)
    over_clutter = sum(bool((image > 4.0).any()) for image, _ in items)
    assert over_targets + over_clutter == 40
    assert min(over_targets, over_clutter) >= 10, "half and half"


def test_crops_are_placed_over_clutter_and_hold_no_target() -> None:
    mined = mine_clutter([frame(0, target=False)], [Bright().eval()], threshold=0.05)

    def bright(frames: list[StoredFrame], share: float) -> int:
        plain = AugmentConfig(warp=0.0, photometric=0.0)
        crops = CropDataset(frames, size=24, target_share=share, augmentation=plain, seed=0)
        items = [crops[draw, 0] for draw in range(40)]
        assert not any(mask.any() for _, mask in items)
        return sum(bool((image > 4.0).any()) for image, _ in items)

    assert bright(mined, 1.0) == 40
    assert bright(mined, 0.0) < 20
    assert bright([dataclasses.replace(mined[0], clutter=np.empty((0, 2), np.int32))], 1.0) < 20


def test_a_run_mines_with_packages_and_says_so(
    config: Callable[..., SupervisedConfig], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    negatives = tmp_path / "empty" / "images"
    negatives.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (72, 72), np.uint8)).save(negatives / f"{index}.png")
    network = create_model("pit-n")
    manifest = Manifest(
        "pit-n",
        describe_architecture("pit-n", network),
        normalisation="",
        stride=0,
        operating_points=(OperatingPoint("default", 0.5, "not measured", None, None, None),),
        metrics={},
        training={},
        data=(),
        licence="CC0",
        provenance="random",
    )
    package = write_package(tmp_path / "other", network, manifest)
    settings = config(epochs=1, mine=(str(package.path),), mine_threshold=1e-6)
    settings = dataclasses.replace(settings, data=(*settings.data, str(negatives.parent)))
    folder = train_supervised(settings, tmp_path / "run", hardware=Hardware("cpu", "1", "32-true"))
    assert "13 training frames, 7 with targets, 6 with mined clutter" in capfd.readouterr().err
    kept = json.loads((folder / "run.json").read_text())
    assert kept["mine"][0]["sha256"] == package.manifest.files["model.safetensors"]["sha256"]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"mine_threshold must be in \(0, 1\)"):
        SupervisedConfig(mine_threshold=threshold)
