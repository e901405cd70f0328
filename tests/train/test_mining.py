# SPDX-License-Identifier: Apache-2.0
"""Hard examples: crops go where a model sees targets that are none, and to the targets that it does not see."""

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
from safetensors.torch import load_file
from torch import Tensor

from pitviper.core.manifest import Manifest, OperatingPoint, Package
from pitviper.core.models import DetectorNetwork, create_model
from pitviper.core.weights import describe_architecture, write_package
from pitviper.train.config import SupervisedConfig
from pitviper.train.data.augment import AugmentConfig
from pitviper.train.data.crops import CropDataset
from pitviper.train.data.mining import mine_clutter, repeat_missed
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


def test_frames_of_missed_targets_come_again_with_those_alone() -> None:
    empty, missed = frame(0, target=False), frame(1, target=True)
    mask = np.zeros((96, 96), np.bool_)
    mask[SPOT] = True
    found = replace(missed, mask=mask, targets=np.argwhere(mask).astype(np.int32))
    both = replace(missed, mask=mask | missed.mask)
    network = Bright()
    frames = [empty, missed, found, both, missed]
    repeated = repeat_missed(frames, [network.eval()], times=3)
    assert repeated[:5] == frames
    assert network.calls == 3, "a frame that counts twice is looked at once, one without targets never"
    assert [id(each.mask) for each in repeated[5:]] == [id(missed.mask), id(both.mask)] * 3
    assert [each.targets.tolist() for each in repeated[5:]] == [[[10, 80]]] * 6


def _blind_package(path: Path) -> Package:
    """Of a network that gives every pixel the same small probability."""
    network = create_model("pit-n")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.zero_()
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
    return write_package(path, network, manifest)


def test_a_run_mines_with_packages_and_says_so(
    config: Callable[..., SupervisedConfig], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    negatives = tmp_path / "empty" / "images"
    negatives.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (72, 72), np.uint8)).save(negatives / f"{index}.png")
    package = _blind_package(tmp_path / "other")
    given = (str(package.path),)
    settings = config(epochs=1, mine=given, mine_threshold=1e-6, missed=given, missed_times=2)
    settings = dataclasses.replace(settings, data=(*settings.data, str(negatives.parent)))
    folder = train_supervised(settings, tmp_path / "run", hardware=Hardware("cpu", "1", "32-true"))
    said = capfd.readouterr().err
    assert "14 more frames an epoch, for missed targets" in said
    assert "27 training frames, 21 with targets, 6 with mined clutter" in said
    kept = json.loads((folder / "run.json").read_text())
    for key in ("mine", "missed"):
        assert kept[key][0]["sha256"] == package.manifest.files["model.safetensors"]["sha256"]


def test_a_seed_begins_with_the_same_weights_whatever_is_mined(
    config: Callable[..., SupervisedConfig], tmp_path: Path
) -> None:
    package = (str(_blind_package(tmp_path / "other").path),)
    begun = []
    for name, mined in (("with", package), ("without", ())):
        # A learning rate of 0 leaves the weights as they began; every frame has targets, so nothing is mined.
        folder = train_supervised(
            config(epochs=1, lr=0.0, mine=mined), tmp_path / name, hardware=Hardware("cpu", "1", "32-true")
        )
        begun.append(load_file(folder / "last.safetensors"))
    assert begun[0].keys() == begun[1].keys()
    assert all(torch.equal(begun[0][key], begun[1][key]) for key in begun[0])


def test_crops_of_missed_targets_do_not_go_to_clutter() -> None:
    both = replace(frame(1, target=True), clutter=np.array([[40, 40]], np.int32))
    assert [len(each.clutter) for each in repeat_missed([both], [Bright().eval()], times=2)] == [1, 0, 0]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"mine_threshold must be in \(0, 1\)"):
        SupervisedConfig(mine_threshold=threshold)
