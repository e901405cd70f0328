# SPDX-License-Identifier: Apache-2.0
"""From a run to a package that says where it comes from and that runs without torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pitviper.core.datasets import open_dataset, read_sample
from pitviper.core.manifest import Package, read_package
from pitviper.core.weights import load_model
from pitviper.train import cli
from pitviper.train.package import OPERATING_POINTS
from pitviper.train.run import load_run
from pitviper.train.validate import predictor

runtime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def package(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    output = tmp_path_factory.mktemp("packages") / "pit-tiny"
    words = ["--weights", "last", "--licence", "CC0-1.0", "--provenance", "made by a test", "--commit", "abc"]
    assert cli.main(["package", str(finished), str(output), *words]) == 0
    return read_package(output)


def test_manifest(package: Package, tiny: Path) -> None:
    manifest = package.manifest
    assert (manifest.name, manifest.licence, manifest.provenance) == ("pit-n", "CC0-1.0", "made by a test")
    assert manifest.training["commit"] == "abc"
    assert manifest.training["weights"].startswith("last epoch")
    split = open_dataset(tiny, "val").split_sha256
    assert manifest.metrics["tiny"]["split_sha256"] == split
    assert manifest.data[0]["name"] == "tiny"
    assert {p.name: p.threshold for p in manifest.operating_points} == OPERATING_POINTS
    default = next(p for p in manifest.operating_points if p.name == "default")
    assert default.pd == manifest.metrics["tiny"]["pd"]
    assert manifest.default_threshold() == 0.5
    assert str(tiny.parent) not in manifest.to_json(), "no path of the machine that trained"


def test_onnx_equals_torch_on_frames_of_the_val_split(package: Package, tiny: Path) -> None:
    session = runtime.InferenceSession(package.read("model.onnx"), providers=["CPUExecutionProvider"])
    predict = predictor(load_model(package))
    for sample in open_dataset(tiny, "val").samples:
        frame, _ = read_sample(sample)
        found = session.run(None, {"frame": frame.astype(np.float32)[None, None]})[0][0, 0]
        # The graph keeps its statistics in float32, standardise in float64.
        assert np.abs(found - predict(frame)).max() < 2e-4


def test_package_holds_the_weights_of_the_run(package: Package, finished: Path) -> None:
    kept = load_run(finished, "last")[0].state_dict()
    loaded = load_model(package).state_dict()
    assert all(bool((kept[key] == value).all()) for key, value in loaded.items())


def test_settings_in_the_manifest_repeat_the_run(package: Package, finished: Path) -> None:
    trained = json.loads((finished / "run.json").read_text())["config"]
    stored = json.loads(json.dumps(package.manifest.training["config"]))
    assert stored == {key: value for key, value in trained.items() if key != "data"}
    assert package.manifest.training["command"].endswith("--data tiny --seed 0")


def test_a_run_whose_data_was_moved_is_packaged_when_told_where_it_lies(
    finished: Path, package: Package, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, now = tmp_path / "run", tmp_path / tiny.name
    shutil.copytree(finished, run)
    shutil.copytree(tiny, now)
    summary = json.loads((run / "run.json").read_text())
    summary["config"]["data"] = ["/gone/" + tiny.name]
    (run / "run.json").write_text(json.dumps(summary))
    words = ["package", str(run), str(tmp_path / "package"), "--weights", "last"]
    assert cli.main(words) == 1
    assert "say where it lies now with --data FOLDER" in capsys.readouterr().err
    assert cli.main([*words, "--data", str(now)]) == 0
    assert read_package(tmp_path / "package").manifest.metrics == package.manifest.metrics
