# SPDX-License-Identifier: Apache-2.0
"""What must never be committed: code that runs on loading, other people's data, one developer's machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy", ".npz", ".tar", ".bin", ".mar"}
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".mp4", ".mkv", ".avi", ".webm"}
# Pictures of the documentation come from the synthetic scene; a data set has no place in the repository.
PICTURE_FOLDERS = ("docs/assets/",)
MAX_BYTES = 2 * 1024 * 1024
MAX_WEIGHTS_BYTES = 16 * 1024 * 1024
# Places that exist on one machine only, and package indexes that one network offers.
MACHINE = re.compile(
    r"(?<![\w.$~}-])/(?:work|home|root|Users|opt|mnt|srv)/[\w.-]+"
    r"|--(?:extra-)?index-url[ =]\S|--find-links[ =]\S|https?://\S*(?:/simple/|/whl/)"
)
LOADS_CODE = re.compile(
    r"\b(?:import pickle|from pickle|pickle\.loads?|joblib\.load)\b"
    r"|\ballow_pickle\s*=\s*True|\bweights_only\s*=\s*False"
)


def committed_files() -> list[Path]:
    """Tracked and new files; what .gitignore names is left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is no list of committed files", allow_module_level=True)
    names = [name for name in listed.stdout.decode("utf-8").split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def texts() -> list[tuple[str, str]]:
    found = []
    for path in committed_files():
        try:
            found.append((path.relative_to(ROOT).as_posix(), path.read_text("utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_no_file_that_runs_code_when_loaded() -> None:
    assert [str(path) for path in committed_files() if path.suffix.lower() in PICKLES] == []


def test_no_source_that_loads_such_a_file() -> None:
    layers = ("core/", "kernels/", "sdk/", "train/", "examples/", "benchmarks/")
    found = [name for name, text in texts() if name.startswith(layers) and LOADS_CODE.search(text)]
    assert found == []


def test_no_pictures_outside_the_documentation() -> None:
    names = [
        path.relative_to(ROOT).as_posix() for path in committed_files() if path.suffix.lower() in PICTURES
    ]
    assert [name for name in names if not name.startswith(PICTURE_FOLDERS)] == []


def test_files_are_small() -> None:
    for path in committed_files():
        name = path.relative_to(ROOT).as_posix()
        limit = MAX_WEIGHTS_BYTES if name.startswith("sdk/weights/") else MAX_BYTES
        assert path.stat().st_size <= limit, f"{name} has {path.stat().st_size} bytes; the limit is {limit}"


def test_no_path_or_index_of_one_machine() -> None:
    found = []
    for name, text in texts():
        if name == "tests/test_repository.py":
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if MACHINE.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "data = '/home/someone/data'",
        "pip install --extra-index-url https://packages.example/simple/ torch",
        "see https://packages.example/whl/torch",
    ],
)
def test_planted_machine_paths_are_seen(line: str) -> None:
    assert MACHINE.search(line)


@pytest.mark.parametrize(
    "line", ["https://example.org/work/one", "open('/dev/video0')", "$HOME/root/x", "a/opt/b"]
)
def test_other_paths_pass(line: str) -> None:
    assert not MACHINE.search(line)
