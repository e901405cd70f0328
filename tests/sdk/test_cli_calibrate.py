# SPDX-License-Identifier: Apache-2.0
"""``pitviper calibrate``, and what ``detect`` makes of its file, of budgets, cameras and the monitor."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk import reconnect
from pitviper.sdk.cli import exits, main
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.fa_budget import resolve_budget
from pitviper.sdk.sources import Frame, FrameTime, Source, SourceInfo

FAST = ["--threads", "1", "--model", "pit-n"]
EMPTY = "synthetic://sky?frames=30&width=64&height=64&targets=0"
SCENE = "synthetic://sky?frames=2&width=64&height=64"


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_calibration_becomes_the_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site.json"
    cloudy = EMPTY.replace("sky?", "cloud?contrast=3&")
    assert (
        main(["calibrate", cloudy, "--out", str(site), "--block", "1", "--fa-per-frame", "0.3", *FAST]) == 0
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "30 frames in 30 blocks of 1" in captured.err
    assert "holds if: The scenes hold no target." in captured.err
    made = sdk.Calibration.load(site)
    assert (made.model, made.per_frame, made.fps, made.shape) == ("pit-n", 0.3, 30.0, (64, 64))
    tight, loose = made.chosen_threshold(), made.threshold_for(sdk.FaBudget(per_frame=0.5))
    assert loose < tight
    assert main(["detect", SCENE, "--calibration", str(site), *FAST]) == 0
    assert {row["threshold"] for row in rows(capsys.readouterr().out)} == {tight}
    assert main(["detect", SCENE, "--calibration", str(site), "--fa-per-frame", "0.5", *FAST]) == 0
    assert {row["threshold"] for row in rows(capsys.readouterr().out)} == {loose}


def test_a_budget_that_cannot_be_vouched_for_leaves_the_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "site.json"
    code = main(["calibrate", EMPTY, "--out", str(path), "--fa-per-hour", "1", *FAST])
    assert code == exits.USAGE
    assert "cannot vouch" in capsys.readouterr().err
    assert sdk.Calibration.load(path).blocks == 1


def test_the_table_of_the_package_answers_or_says_what_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", SCENE, "--fa-per-frame", "0.5", *FAST]) == 0
    expected = resolve_budget(sdk.FaBudget(per_frame=0.5), sdk.open_model("pit-n"))
    assert {row["threshold"] for row in rows(capsys.readouterr().out)} == {expected}
    assert main(["detect", SCENE, "--fa-per-hour", "2", "--fa-fps", "30", *FAST]) == exits.USAGE
    assert "pitviper calibrate" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["detect", SCENE, "--threshold", "0.5", "--fa-per-frame", "0.1"],
        ["detect", SCENE, "--threshold", "0.5", "--calibration", "site.json"],
        ["detect", SCENE, "--fa-fps", "30"],
        ["detect", SCENE, "--fa-per-hour", "2"],
        ["detect", SCENE, "--calibration", "none.json"],
        ["detect", SCENE, "--camera", "bosun"],
        ["detect", SCENE, "--monitor", "off", "--drop-bad-pixels"],
        ["calibrate", EMPTY, "--out", "-", "--confidence", "2"],
        ["calibrate", EMPTY, "--out", "-", "--block", "0"],
        ["calibrate", EMPTY, "--out", "-", "--frames", "0"],
    ],
)
def test_options_that_contradict_or_are_out_of_range_exit_2(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*argv, *FAST]) == exits.USAGE


def test_ctrl_c_ends_a_long_measurement_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, seen = ProgressLine.step, []

    def step_and_interrupt(self: ProgressLine, note: str = "") -> None:
        step(self, note)
        seen.append(note)
        if len(seen) == 7:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ProgressLine, "step", step_and_interrupt)
    site = tmp_path / "site.json"
    assert main(["calibrate", EMPTY, "--out", str(site), "--block", "2", *FAST]) == exits.INTERRUPTED
    assert sdk.Calibration.load(site).frames == 6, "7 frames are three blocks of two"
    assert "what was written is complete up to here" in capsys.readouterr().err


def test_a_source_that_fails_leaves_what_was_measured_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(6):
        counts = np.random.default_rng(index).normal(7000, 20, (64, 64)).astype(np.uint16)
        Image.fromarray(counts).save(frames / f"{index}.png")
    (frames / "5.png").write_bytes(b"no image")
    site = tmp_path / "site.json"
    assert main(["calibrate", str(frames), "--out", str(site), *FAST]) == exits.SOURCE
    assert sdk.Calibration.load(site).frames == 5
    assert "the 5 frames before that are in" in capsys.readouterr().err


def test_a_camera_that_was_lost_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour in front of a camera does not end with a loose cable, and the file names the camera's profile."""
    openings: list[str] = []

    class Camera(Source):
        def __init__(self, name: str) -> None:
            super().__init__(SourceInfo("script", name, fps=25.0, live=True))
            self.camera = sdk.camera_profile("boson")

        def _read(self) -> Iterator[Frame]:
            for index in range(4):
                image = np.random.default_rng(index).normal(7000, 20, (64, 64)).astype(np.uint16)
                yield Frame(image, index, FrameTime.now(None))
            raise sdk.SourceLost("unplugged")

    def opened(spec: str, **options: Any) -> Source:
        openings.append(spec)
        return Camera(spec)

    monkeypatch.setattr(reconnect, "open_source", opened)
    site = tmp_path / "site.json"
    argv = ["calibrate", "/dev/video7", "--out", str(site), "--block", "1", "--frames", "10", *FAST]
    assert main(argv) == 0
    found = sdk.Calibration.load(site)
    assert (found.frames, found.camera) == (10, "boson")
    assert openings == ["/dev/video7"] * 3
    assert "lost (unplugged); opening it again" in capsys.readouterr().err


def test_too_few_frames_are_the_sources_fault(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["calibrate", EMPTY, "--out", "-", "--frames", "2", "--block", "3", *FAST]
    assert main(argv) == exits.SOURCE
    assert "measure longer" in capsys.readouterr().err


def test_a_camera_cuts_its_telemetry_off_and_is_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for index in range(3):
        raw = rng.normal(29_500, 20, (122, 160)).astype(np.uint16)
        raw[120:] = 0
        raw[120, 3] = (2 if index == 1 else 3) << 4
        Image.fromarray(raw).save(tmp_path / f"{index}.png")
    stats = tmp_path / "stats.json"
    argv = ["detect", str(tmp_path), "--json", "-", "--camera", "lepton", "--stats", str(stats), *FAST]
    assert main(argv) == 0
    found = rows(capsys.readouterr().out)
    assert [row["shape"] for row in found] == [[120, 160]] * 3
    assert [row["flags"] for row in found] == [[], ["ffc"], []]
    assert json.loads(stats.read_text())["monitor"]["frames"] == 3
    assert main([*argv, "--monitor", "off"]) == 0
    assert "monitor" not in json.loads(stats.read_text())


def test_the_monitor_reports_what_it_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = np.random.default_rng(0).normal(7000, 20, (64, 64)).astype(np.uint16)
    for index in range(3):
        Image.fromarray(raw).save(tmp_path / f"{index}.png")
    assert main(["detect", str(tmp_path), "--json", "-", "--monitor", "on", *FAST]) == 0
    captured = capsys.readouterr()
    assert rows(captured.out)[1]["flags"] == ["frozen"]
    assert 'monitor: frames flagged {"ffc_suspected": 1, "frozen": 2}' in captured.err
