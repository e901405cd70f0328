# SPDX-License-Identifier: Apache-2.0
"""What a user gets: the contents of a wheel built from this checkout."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-m", "build", "--wheel", "--no-isolation"),
            # Its own build folder: the checkout's may belong to an editable install of another interpreter.
            *("--config-setting", f"build-dir={folder / 'build'}"),
            # What is looked at here is the same without device code, which takes nvcc minutes.
            *("--config-setting", "cmake.define.PITVIPER_CUDA=OFF"),
            *("--outdir", str(folder), str(root)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def names(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_everything_is_under_one_name(names: set[str]) -> None:
    # Top-level `core` or `kernels` would shadow, or be shadowed by, packages of other people.
    assert {name.partition("/")[0] for name in names} == {"pitviper"}


def test_compiled_module_is_in_it(names: set[str]) -> None:
    assert [name for name in names if name.startswith("pitviper/kernels/_native") and name.endswith(".so")]


def test_types_are_in_it(names: set[str]) -> None:
    assert "pitviper/py.typed" in names
    assert "pitviper/kernels/_native.pyi" in names


def test_every_python_file_of_the_layers_is_in_it(root: Path, names: set[str]) -> None:
    for layer in ("core", "kernels", "sdk", "train"):
        for path in (root / layer).rglob("*.py"):
            assert f"pitviper/{path.relative_to(root).as_posix()}" in names


def test_sources_and_tests_stay_out(names: set[str]) -> None:
    suffixes = (".cpp", ".hpp", ".h", ".cu", ".cuh", ".pyc")
    header = "pitviper/kernels/capi/include/pitviper.h"  # what C and C++ applications include
    assert header in names
    assert [name for name in names - {header} if name.endswith(suffixes)] == []
    folders = ("tests", "examples", "benchmarks", "docs", "csrc", "__pycache__")
    assert [name for name in names if set(name.split("/")) & set(folders)] == []


def test_no_links(wheel: zipfile.ZipFile) -> None:
    modes = {entry.filename: entry.external_attr >> 16 for entry in wheel.infolist()}
    assert [name for name, mode in modes.items() if stat.S_ISLNK(mode)] == []


@pytest.mark.parametrize("model", ["pit-s", "pit-n"])
def test_weights_are_in_it_whole(model: str, wheel: zipfile.ZipFile, root: Path) -> None:
    folder = f"pitviper/sdk/weights/{model}"
    manifest = json.loads(wheel.read(f"{folder}/manifest.json"))
    assert manifest["files"], "the manifest lists no file"
    for name in manifest["files"]:
        assert wheel.read(f"{folder}/{name}") == (root / "sdk" / "weights" / model / name).read_bytes()


def test_entry_points_exist(wheel: zipfile.ZipFile) -> None:
    (points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(points).decode("utf-8")
    for line in ("pitviper=pitviper.sdk.cli:main", "pitviper-train=pitviper.train.cli:main"):
        assert line in text.replace(" ", "")
        module = line.partition("=")[2].partition(":")[0].replace(".", "/")
        assert {f"{module}.py", f"{module}/__init__.py"} & set(wheel.namelist())
