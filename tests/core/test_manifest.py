# SPDX-License-Identifier: Apache-2.0
"""Nothing is taken from a package whose files are not those that its manifest names."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pitviper.core.manifest import (
    IntegrityError,
    Manifest,
    OperatingPoint,
    PackageError,
    UnsafeWeights,
    file_record,
    read_package,
)

FILES = {
    "model.onnx": b"detector" * 40,
    "network.onnx": b"network" * 30,
    "model.safetensors": b"\x00weights\xff",
}


def manifest(**changes: object) -> Manifest:
    made = Manifest(
        name="pit-x",
        architecture={"name": "pit-n", "version": "1", "config": {"in_channels": 1}},
        normalisation="standardise-v1",
        stride=8,
        operating_points=(
            OperatingPoint("quiet", 0.9, "val", 0.8, 1.0, 0.01),
            OperatingPoint("default", 0.4, "val", None, 2.0, 0.02),
        ),
        metrics={"val": {"iou": 0.7}},
        training={"seed": 0},
        data=({"name": "set", "frames": 3},),
        licence="CC0",
        provenance="made here",
        files={name: file_record(content) for name, content in FILES.items()},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "package"
    path.mkdir()
    for name, content in FILES.items():
        (path / name).write_bytes(content)
    (path / "manifest.json").write_text(manifest().to_json())
    return path


def zipped(folder: Path, *, compression: int = zipfile.ZIP_STORED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    return path


def test_round_trip() -> None:
    assert Manifest.from_json(manifest().to_json()) == manifest()


def test_default_threshold() -> None:
    assert manifest().default_threshold() == 0.4
    with pytest.raises(PackageError, match=r"no operating point named 'default'; pass threshold="):
        manifest(operating_points=()).default_threshold()


def test_nan_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        manifest(metrics={"val": {"iou": float("nan")}}).to_json()


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_read_package(folder: Path, form: str) -> None:
    package = read_package(folder if form == "folder" else zipped(folder))
    assert package.manifest == manifest()
    assert {name: package.read(name) for name in FILES} == FILES
    with pytest.raises(PackageError, match=r"holds no engine\.plan; it has model\.onnx, model\.safetensors"):
        package.read("engine.plan")


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_flipped_bit(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=rf"{name}: sha256 .*get the package again"):
        read_package(folder)
    assert read_package(folder, verify=False).read(name) == bytes(content)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_flipped_byte_in_a_zip(folder: Path, compression: int) -> None:
    path = zipped(folder, compression=compression)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("model.onnx").header_offset + 30 + len("model.onnx")
    content = bytearray(path.read_bytes())
    content[start + 3] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"package\.zip: damaged zip file"):
        read_package(path)


def test_zip_whose_content_was_replaced_with_a_right_checksum(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"another network")
    with pytest.raises(IntegrityError, match=r"model\.onnx: sha256"):
        read_package(zipped(folder))


def test_missing_and_added_files(folder: Path) -> None:
    (folder / "network.onnx").unlink()
    with pytest.raises(IntegrityError, match=r"network\.onnx missing or not in the manifest"):
        read_package(folder)
    (folder / "network.onnx").write_bytes(FILES["network.onnx"])
    (folder / "extra.onnx").write_bytes(b"1")
    with pytest.raises(IntegrityError, match=r"extra\.onnx missing or not in the manifest"):
        read_package(folder)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".ckpt", ".bin", ".PTH"])
def test_pickles_are_refused_unopened(folder: Path, suffix: str) -> None:
    with pytest.raises(UnsafeWeights, match=r"pickles.*safetensors"):
        read_package(folder.parent / f"absent{suffix}")
    (folder / f"weights{suffix}").write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeWeights, match=rf"holds weights\{suffix}; pickles can run code"):
        read_package(folder)


def test_what_is_no_package(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(PackageError, match="no such file or folder"):
        read_package(tmp_path / "absent")
    text = tmp_path / "notes.txt"
    text.write_text("no zip")
    with pytest.raises(PackageError, match="neither a package folder nor a zip file"):
        read_package(text)
    (folder / "manifest.json").unlink()
    with pytest.raises(PackageError, match=r"holds no manifest\.json"):
        read_package(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2, this version reads 1; update pitviper"),
        ({"schema": None}, "schema None"),
        ({"colour": "red"}, "missing or unknown fields: colour"),
        ({"operating_points": [{"name": "default", "speed": 3}]}, "speed"),
        ({"operating_points": None}, "not iterable"),
        ({"data": 3}, "not iterable"),
    ],
)
def test_manifests_of_another_form(folder: Path, change: dict[str, object], message: str) -> None:
    values = json.loads(manifest().to_json()) | change
    (folder / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(PackageError, match=message):
        read_package(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ufeff{}"])
def test_manifests_that_are_no_json_object(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(PackageError, match=r"manifest\.json: "):
        read_package(folder)


def test_missing_field(folder: Path) -> None:
    values = json.loads(manifest().to_json())
    del values["licence"]
    (folder / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(PackageError, match="missing or unknown fields: licence"):
        read_package(folder)
