# SPDX-License-Identifier: Apache-2.0
"""``pitviper-train adapt``: what is better is kept, else refused, and an interrupted run ends as a whole one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pitviper.core.datasets import DatasetError
from pitviper.core.manifest import PackageError, read_package
from pitviper.core.weights import load_model
from pitviper.train import cli
from pitviper.train.adaptation import run as adaptation
from pitviper.train.adaptation.material import read_material
from pitviper.train.adaptation.run import adapt
from pitviper.train.adaptation.settings import AdaptSettings, trained_upright, training_config
from pitviper.train.hardware import Hardware

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true")


@pytest.fixture(autouse=True)
def few_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "_GUARDS", 3)


@pytest.fixture
def settings(material: Path, package: Path, tmp_path: Path) -> Callable[..., AdaptSettings]:
    def make(**changes: Any) -> AdaptSettings:
        given = {"material": material, "package": package, "out": tmp_path / "out"}
        quick = {"steps": 6, "batch": 8, "crop": 64, "lr": 3e-3}
        return AdaptSettings(**{**given, **quick, **changes})

    return make


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_what_got_better_is_kept(
    material: Path,
    package: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On three scenes one target more or less is five points, and the guard allows three.
    monkeypatch.setattr(adaptation, "_GUARDS", 12)
    out = tmp_path / "out"
    words = ["adapt", str(material), "--package", str(package), "--out", str(out), "--accelerator", "cpu"]
    assert cli.main([*words, "--steps", "120", "--batch", "8", "--crop", "64", "--lr", "0.001"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out / 'package'}\n"
    assert "held-out clicks: 0 of 9 found before, " in said.err
    assert files(out) == ["package", "report.html", "report.json"]
    report = json.loads((out / "report.json").read_text())
    assert report["accepted"]
    assert report["after"]["found"] >= 4 > report["before"]["found"] == 0
    assert (report["clicked_frames_to_learn"], report["clicked_frames_to_judge"]) == (9, 9)
    manifest = read_package(out / "package").manifest
    assert manifest.name == "pit-n-adapted"
    assert manifest.default_threshold() == 0.5
    origin = manifest.training["adapted_from"]
    assert origin["sha256"] == read_package(package).manifest.files["model.safetensors"]["sha256"]
    assert manifest.training["adaptation"]["clicks"] == 18
    assert manifest.training["adaptation"]["track_frames"] == 3, "three lie between frames that judge"
    assert manifest.metrics["held-out clicks"]["targets"] == 9
    assert str(tmp_path) not in manifest.to_json()
    load_model(out / "package")
    page = (out / "report.html").read_text()
    assert page.count("<img ") == 2
    assert "http" not in page
    assert cli.main([*words, "--resume"]) == 1
    assert "holds an adaptation already" in capsys.readouterr().err


def test_what_got_worse_is_refused(
    material: Path, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in package.iterdir()}
    out = tmp_path / "out"
    words = ["adapt", str(material), "--package", str(package), "--out", str(out), "--accelerator", "cpu"]
    assert cli.main([*words, "--steps", "4", "--batch", "8", "--crop", "64", "--lr", "0.5"]) == 6
    said = capsys.readouterr()
    assert said.out == ""
    assert "pitviper-train: refused: " in said.err
    assert "the package before stays as it is; no other was written" in said.err
    assert files(out) == ["report.html", "report.json"], "nothing but the report"
    report = json.loads((out / "report.json").read_text())
    assert not report["accepted"]
    assert "refused" in (out / "report.html").read_text()
    assert {path.name: path.read_bytes() for path in package.iterdir()} == before


def test_killed_and_resumed(
    settings: Callable[..., AdaptSettings],
    tmp_path: Path,
    killed_in_epoch: Callable[[int], AbstractContextManager[None]],
) -> None:
    whole, broken = (settings(steps=12, keep_work=True, **each) for each in ({"out": tmp_path / "whole"}, {}))
    with killed_in_epoch(2):
        adapt(broken, hardware=CPU)
    with pytest.raises(FileExistsError, match="go on with --resume"):
        adapt(broken, hardware=CPU)
    torch.manual_seed(99)
    again, _ = adapt(broken, hardware=CPU, resume=True)
    verdict, _ = adapt(whole, hardware=CPU)
    assert again == verdict
    weights = [load_file(each.out / "work/run/last.safetensors") for each in (whole, broken)]
    assert [key for key in weights[0] if not torch.equal(weights[0][key], weights[1][key])] == []
    masks = whole.out / "work/own-stream/masks"
    assert len(list(masks.iterdir())) >= 18, "labels that a person can look at"


def test_a_full_disk_keeps_what_there_is(
    settings: Callable[..., AdaptSettings], disk_of: Callable[[int], AbstractContextManager[None]]
) -> None:
    wanted = settings(steps=2, keep_work=True)
    with pytest.raises(OSError, match="make room, then go on with --resume"), disk_of(100_000):
        adapt(wanted, hardware=CPU)
    assert files(wanted.out) == ["work"]
    adapt(wanted, hardware=CPU, resume=True)
    assert (wanted.out / "report.json").is_file()


def copied(material: Path, to: Path) -> Path:
    shutil.copytree(material, to)
    return to


def test_too_few_clicks_say_how_many_are_needed(
    settings: Callable[..., AdaptSettings], material: Path, tmp_path: Path
) -> None:
    fewer = copied(material, tmp_path / "fewer")
    lines = (fewer / "clicks.csv").read_text().splitlines()
    (fewer / "clicks.csv").write_text("\n".join(lines[:9]) + "\n")
    with pytest.raises(DatasetError, match=r"8 clicked frames with points are too few .* at least 10 frames"):
        adapt(settings(material=fewer), hardware=CPU)
    facts = json.loads((fewer / "material.json").read_text())
    (fewer / "clicks.csv").write_text("\n".join(lines) + "\n")
    (fewer / "material.json").write_text(json.dumps({**facts, "fps": 200.0}))
    (fewer / "tracks.csv").write_text("image,row,column\n")
    with pytest.raises(
        DatasetError, match="within 200 frames of those that judge; click frames that lie farther"
    ):
        adapt(settings(material=fewer), hardware=CPU)
    assert not (tmp_path / "out").exists()


def test_clicks_alone_are_enough(
    settings: Callable[..., AdaptSettings], material: Path, tmp_path: Path
) -> None:
    alone = copied(material, tmp_path / "alone")
    (alone / "tracks.csv").write_text("image,row,column\n")
    adapt(settings(material=alone, steps=1), hardware=CPU)
    assert json.loads((tmp_path / "out/report.json").read_text())["track_frames"] == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda root: (root / "material.json").unlink(), "holds no material.json"),
        (lambda root: (root / "material.json").write_text("{"), "is damaged"),
        (lambda root: (root / "material.json").write_text('{"clicked": {}, "tracked": {}}'), "schema None"),
        (lambda root: next((root / "images").iterdir()).unlink(), "has a label and no frame"),
        (lambda root: next((root / "images").iterdir()).write_bytes(b"PNG"), "not an image"),
        (
            lambda root: (root / "clicks.csv").write_text("image,row,column\ncam-000000,64,0\n"),
            "outside the frame",
        ),
        (lambda root: (root / "clicks.csv").write_text("nothing\n"), "the first line names the columns"),
    ],
)
def test_broken_material_is_refused(
    material: Path, tmp_path: Path, change: Callable[[Path], object], reason: str
) -> None:
    broken = copied(material, tmp_path / "broken")
    change(broken)
    with pytest.raises(DatasetError, match=reason):
        read_material(broken)


def test_a_package_without_weights_to_train_is_refused(
    settings: Callable[..., AdaptSettings], package: Path, tmp_path: Path
) -> None:
    bare = copied(package, tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    manifest = json.loads((bare / "manifest.json").read_text())
    del manifest["files"]["model.safetensors"]
    (bare / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match=r"holds no model\.safetensors"):
        adapt(settings(package=bare), hardware=CPU)


@pytest.mark.parametrize(
    "values", [{"steps": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"crop": 8}, {"chance": 0.5}]
)
def test_settings_that_cannot_be(settings: Callable[..., AdaptSettings], values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        settings(**values)


@pytest.mark.parametrize(("others", "asked"), [(0, 300), (1676, 300), (10_000, 300), (2755, 50)])
def test_the_steps_that_are_told_are_those_that_are_taken(
    settings: Callable[..., AdaptSettings], others: int, asked: int
) -> None:
    wanted = settings(steps=asked, batch=16)
    config, steps = training_config(wanted, "pit-n", stream=Path("own"), own=20, others=others)
    repeats = len(config.data) - len(wanted.data)
    an_epoch = (repeats * 20 + config.synthetic + others) // config.batch
    assert steps == config.epochs * an_epoch
    assert abs(steps - asked) <= an_epoch / 2 or config.epochs == 1


def test_sets_that_were_trained_upright_stay_so(
    settings: Callable[..., AdaptSettings], tmp_path: Path
) -> None:
    """Turned crops of them would unlearn to which side their masks lie."""
    training = {"config": {"steps": 9}, "before": {"config": {"upright": ["beside", "elsewhere"]}}}
    assert trained_upright(training) == ("beside", "elsewhere")
    assert trained_upright({"config": {}}) == ()
    wanted = settings(data=(str(tmp_path / "beside"), str(tmp_path / "other")))
    config, _ = training_config(
        wanted, "pit-n", stream=tmp_path / "own", own=20, others=40, upright=trained_upright(training)
    )
    assert config.upright == ("beside",)
