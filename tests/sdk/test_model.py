# SPDX-License-Identifier: Apache-2.0
"""From a name to a verified package, and every way in which that must fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pitviper import sdk
from pitviper.sdk.model import SHIPPED

FILES = ["manifest.json", "model.onnx", "model.safetensors", "network.onnx"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "pit-n", tmp_path / "mine"))


def test_the_shipped_models_are_whole() -> None:
    assert sdk.list_models() == ["pit-m", "pit-n", "pit-s"]
    for name in sdk.list_models():
        package = sdk.open_model(name)
        assert package.manifest.name == name
        assert 0 < package.manifest.default_threshold() < 1
        assert sorted(path.name for path in package.path.iterdir()) == FILES


def test_a_package_is_found_by_its_path(package: Path) -> None:
    assert sdk.open_model(package).path == package
    assert sdk.open_model(str(package)).manifest == sdk.open_model("pit-n").manifest


def test_an_unknown_name_lists_what_exists() -> None:
    with pytest.raises(sdk.ModelError, match=r"'yolo'.*pit-m, pit-n, pit-s"):
        sdk.open_model("yolo")
    for model in (5, None, ""):
        with pytest.raises(sdk.ModelError, match="name or a path"):
            sdk.open_model(model)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".PT", ".ckpt"])
@pytest.mark.parametrize("there", [True, False])
def test_a_pickle_is_refused_with_the_reason(tmp_path: Path, suffix: str, there: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    if there:
        path.write_bytes(b"\x80\x04.")
    with pytest.raises(sdk.UnsafeWeights, match="can run code"):
        sdk.open_model(path)


def test_a_pickle_inside_a_package_is_refused(package: Path) -> None:
    (package / "extra.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(sdk.UnsafeWeights, match=r"extra\.pkl"):
        sdk.open_model(package)


@pytest.mark.parametrize("name", FILES[1:])
def test_one_flipped_bit_names_its_file(package: Path, name: str) -> None:
    content = bytearray((package / name).read_bytes())
    content[len(content) // 2] ^= 1
    (package / name).write_bytes(content)
    with pytest.raises(sdk.IntegrityError, match=name.replace(".", r"\.")):
        sdk.Detector(package)


def test_a_missing_and_an_added_file_are_named(package: Path) -> None:
    (package / "model.onnx").rename(package / "other.onnx")
    with pytest.raises(sdk.IntegrityError, match=r"model\.onnx.*other\.onnx"):
        sdk.open_model(package)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1}', '{"schema": 99}'])
def test_a_broken_manifest_is_a_model_error(package: Path, text: str) -> None:
    (package / "manifest.json").write_text(text)
    with pytest.raises(sdk.ModelError, match=r"manifest\.json"):
        sdk.open_model(package)


def test_a_manifest_of_other_types_is_a_model_error(package: Path) -> None:
    values = json.loads((package / "manifest.json").read_text())
    for key in ("operating_points", "files", "data"):
        (package / "manifest.json").write_text(json.dumps({**values, key: 5}))
        with pytest.raises(sdk.ModelError, match="mine"):
            sdk.open_model(package)


def test_another_normalisation_is_refused(package: Path) -> None:
    values = json.loads((package / "manifest.json").read_text())
    (package / "manifest.json").write_text(json.dumps({**values, "normalisation": "zscore-v0"}))
    with pytest.raises(sdk.ModelError, match="zscore-v0"):
        sdk.open_model(package)


def test_an_onnx_file_alone_is_not_enough(package: Path) -> None:
    with pytest.raises(sdk.ModelError, match="package folder"):
        sdk.open_model(package / "model.onnx")


def test_a_folder_and_a_file_that_are_no_package(tmp_path: Path) -> None:
    with pytest.raises(sdk.ModelError, match=r"manifest\.json"):
        sdk.open_model(tmp_path)
    (tmp_path / "model.zip").write_bytes(b"no zip")
    with pytest.raises(sdk.ModelError, match="zip"):
        sdk.open_model(tmp_path / "model.zip")
