# SPDX-License-Identifier: Apache-2.0
"""The C interface from C and C++: the installed library and header, a camera program, no allocation, no crash."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.core.plan import build_plan
from pitviper.core.synthetic import random_scene_frame
from pitviper.kernels.runtime import capi_prefix

NAMES = ("OK", "ARGUMENT", "PLAN", "FRAME", "DEVICE", "MEMORY", "CLOSED", "BUSY", "EMPTY", "NETWORK")
STATUS = {name: code for code, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "pit-n.plan"
    path.write_bytes(build_plan(sdk.open_model("pit-n")).to_bytes())
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Any:
    """Builds a CMake project against the installation, as an application would, and gives its folder."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on the PATH")

    @functools.cache
    def build(source: str) -> Path:
        folder = tmp_path_factory.mktemp("build")
        configure = [
            "cmake",
            "-S",
            str(root / source),
            "-B",
            str(folder),
            f"-DCMAKE_PREFIX_PATH={capi_prefix()}",
        ]
        for command in (configure, ["cmake", "--build", str(folder)]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        return folder

    return build


@pytest.fixture(scope="module")
def programs(built: Any) -> Path:
    folder: Path = built("tests/kernels/capi")
    return folder


def run(*words: str | Path, given: bytes = b"") -> str:
    done = subprocess.run(
        [str(word) for word in words], input=given, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("device", ["cpu", "host"])
def test_the_camera_program_finds_what_the_detector_finds(built: Any, plan: Path, device: str) -> None:
    frames = [random_scene_frame(seed=seed, size=96)[0] for seed in range(3)]
    with sdk.Detector("pit-n", engine="onnxruntime", threads=1) as detector:
        results = [detector.detect(frame) for frame in frames]
    expected = [
        (index, target.x, target.y, target.area_px, target.score)
        for index, result in enumerate(results)
        for target in result
    ]
    assert len(expected) >= 3
    camera = built("examples/cpp") / "camera"
    lines = run(
        camera, plan, "96", "96", device, given=b"".join(frame.tobytes() for frame in frames)
    ).splitlines()
    fields = [line.split() for line in lines]
    found = [(int(w[1]), float(w[3]), float(w[5]), int(w[7]), float(w[9])) for w in fields]
    # The program prints two digits of a position and three of a score.
    np.testing.assert_allclose(found, expected, atol=0.0051, rtol=0)


def test_the_camera_program_says_what_is_wrong(built: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.plan").write_bytes(b"PVPLAN")
    words = [str(built("examples/cpp") / "camera"), str(tmp_path / "broken.plan"), "96", "96"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cut off" in done.stderr


@pytest.mark.parametrize(("device", "frames"), [("cpu", 10000), ("host", 100)])
def test_no_frame_asks_for_memory_after_the_first(
    programs: Path, plan: Path, device: str, frames: int
) -> None:
    counted = json.loads(run(programs / "allocations", plan, device, str(frames)))
    assert counted["before"] > 10, "the counter does not see the library"
    assert counted["found"] > frames / 4, "frames without targets do not reach the records"
    assert (counted["asked"], counted["blocks"]) == (0, 0)


def test_every_wrong_call_is_a_code_with_a_sentence(programs: Path, plan: Path) -> None:
    said = [line.split("|") for line in run(programs / "plain_c", plan).splitlines()]
    *calls, memory = said
    expected = {
        "version": ("ARGUMENT", "PV_VERSION"), "device": ("DEVICE", "cuda:99"), "toaster": ("ARGUMENT", "toaster"),
        "missing": ("PLAN", "no such file"), "null": ("ARGUMENT", "null"), "never": ("CLOSED", "never opened"),
        "open": ("OK", ""), "empty": ("EMPTY", "in flight"), "nodata": ("FRAME", "no data"),
        "type": ("FRAME", "PV_U16"),
        "small": ("FRAME", "32"), "large": ("FRAME", "1048576"), "stride": ("FRAME", "256 bytes"),
        "odd": ("FRAME", "multiple of 4"), "submit": ("OK", ""), "infinite": ("FRAME", "1 NaN or infinite"),
        "timed": ("OK", ""), "times": ("ARGUMENT", "11 extract_targets"), "room": ("ARGUMENT", "room is for 10"),
        "nowhere": ("ARGUMENT", "null"), "again": ("OK", ""), "second": ("OK", ""), "third": ("BUSY", "two frames"),
        "first": ("OK", ""),
        "map": ("EMPTY", "another frame"), "threshold": ("ARGUMENT", "probability"), "close": ("OK", ""),
        "closed": ("CLOSED", "closed"), "used": ("CLOSED", "closed"),
    }  # fmt: skip
    assert [name for name, _, _ in calls] == list(expected)
    for name, code, text in calls:
        status, words = expected[name]
        assert int(code) == STATUS[status], (name, code, text)
        assert words in text if words else not text, (name, text)
    # Every request for memory was refused once, each time with PV_MEMORY; then the frame ran.
    assert memory[:2] == ["memory", "1"]
    assert 5 <= int(memory[2]) < 50
