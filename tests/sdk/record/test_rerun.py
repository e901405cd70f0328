# SPDX-License-Identifier: Apache-2.0
"""Deciding again: the same bits on the same engine, and the first difference where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pitviper import sdk
from pitviper.sdk.cli import main
from pitviper.sdk.record import Recorder, Recording, ReplaySource, rerun
from pitviper.sdk.sources import Frame, FrameTime, Source, SourceInfo

Make = Callable[..., Path]
FULL: dict[str, Any] = {"monitor": {"camera": None, "bad_pixels": "flag"}, "tracker": {"clock": 25.0}}


def edit(folder: Path, line: int, change: Callable[[dict[str, Any]], None]) -> None:
    index = folder / "index.jsonl"
    lines = index.read_text().splitlines()
    values = json.loads(lines[line])
    change(values)
    lines[line] = json.dumps(values)
    index.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("encoding", ["raw", "ffv1"])
def test_the_same_engine_gives_the_same_bits(
    encoding: str, record: Make, make_detector: Callable[..., sdk.Detector]
) -> None:
    folder = record(encoding, **FULL)
    with make_detector() as detector:
        report = rerun(ReplaySource(folder), detector)
    assert report.same, report.first
    assert (report.frames, report.differing, report.other, report.not_compared) == (12, 0, (), ())
    tracked = [entry.found["tracks"] for entry in Recording(folder).entries() if entry.found]  # type: ignore[union-attr] # no errors in it
    assert any(tracked), "no track was compared"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda v: v["found"]["xy"][1].__setitem__(0, v["found"]["xy"][1][0] + 1e-13),
            "frame 2: xy of target 1",
        ),
        (lambda v: v["found"]["snr"].__setitem__(0, None), "frame 2: snr of target 0"),
        (lambda v: v["found"]["flags"].append("frozen"), "frame 2: flags are"),
        (lambda v: v["found"]["tracks"].pop(), "frame 2: tracks are"),
        (lambda v: v["found"]["track_id"].__setitem__(0, 7), "frame 2: track_id of target 0"),
        (lambda v: v["found"].update(threshold=0.9999), "frame 2: "),
    ],
)
def test_the_first_difference_is_named(
    record: Make, make_detector: Callable[..., sdk.Detector], change: Any, expected: str
) -> None:
    folder = record("raw", **FULL)
    edit(folder, 3, change)
    with make_detector() as detector:
        report = rerun(ReplaySource(folder), detector)
    assert not report.same
    assert report.first is not None
    assert report.first.startswith(expected)


def test_a_lost_target_and_another_model_are_told(
    record: Make, make_detector: Callable[..., sdk.Detector]
) -> None:
    folder = record("raw")
    edit(folder, 0, lambda v: v["setup"].update(model_sha256="other"))
    with make_detector(max_targets=1) as detector:
        report = rerun(ReplaySource(folder), detector)
    assert report.first is not None
    assert "1 targets, recorded were 3" in report.first
    assert any("is not the recorded network" in note for note in report.other)


def test_a_tracker_that_is_not_described_is_not_compared(
    record: Make, make_detector: Callable[..., sdk.Detector], pictures: list[Any], tmp_path: Path
) -> None:
    folder = tmp_path / "unknown"
    with make_detector() as detector:
        sinks = [Recorder(folder)]
        list(detector.stream(pictures, sinks=sinks, tracker=sdk.Tracker(clock=25.0)))
    with make_detector() as detector:
        report = rerun(ReplaySource(folder), detector)
    assert report.differing == 0
    assert [note.split(":")[0] for note in report.not_compared] == ["tracks"]
    assert "does not say which model" in report.other[0]


def test_flags_of_the_source_are_given_back(record: Make, make_detector: Callable[..., sdk.Detector]) -> None:
    folder = record("raw", **FULL)

    def flagged(values: dict[str, Any]) -> None:
        values["flags"] = ["lossy"]
        values["found"]["flags"].append("lossy")

    edit(folder, 4, flagged)
    with make_detector() as detector:
        assert rerun(ReplaySource(folder), detector).same


class Restarting(Source):
    """Frames whose clock begins anew at the third."""

    def __init__(self, pictures: list[Any]) -> None:
        super().__init__(SourceInfo("script", "script", fps=25.0))
        self._pictures = pictures

    def _read(self) -> Iterator[Frame]:
        for index, (image, ms) in enumerate(zip(self._pictures, (50_000, 50_040, 0, 40, 40), strict=False)):
            yield Frame(image, index, FrameTime(ms * 1_000_000, 5, 6))


def test_a_clock_that_began_anew_makes_no_difference(
    record: Make, make_detector: Callable[..., sdk.Detector], pictures: list[Any]
) -> None:
    """Stream and tracker each tell of it, and not in the same words."""
    setup = {"monitor": None, "tracker": {}}
    folder = record("raw", frames=Restarting(pictures), count=5, **setup)
    flags = [set(entry.found["flags"]) for entry in Recording(folder).entries() if entry.found]  # type: ignore[union-attr] # no errors in it
    assert flags[2] >= {"time_late", "tracks_ended"}
    assert "time_repeated" in flags[4]
    with make_detector() as detector:
        report = rerun(ReplaySource(folder), detector)
    assert report.same, report.first


@pytest.mark.parametrize(
    "engine", [["torch"], ["torch-fused", "--device", "cpu"], ["cuda", "--device", "cpu"]]
)
def test_a_recording_of_any_engine_is_decided_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: list[str]
) -> None:
    scene = "synthetic://cloud?frames=2&width=64&height=64&seed=2"
    record = ["--model", "pit-n", "--record", str(tmp_path / "rec"), "--engine", *engine]
    assert main(["detect", scene, *record]) == 0
    assert main(["replay", str(tmp_path / "rec")]) == 0, capsys.readouterr().err


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, report = tmp_path / "rec", tmp_path / "report.json"
    scene = "synthetic://cloud?frames=6&width=96&height=96&seed=2"
    detect = ["detect", scene, "--model", "pit-n", "--record", str(folder), "--track", "--monitor", "on"]
    assert main(detect) == 0
    assert main(["replay", str(folder), "--json", str(report)]) == 0
    assert "6 compared: every result is the recorded one, bit for bit" in capsys.readouterr().err
    assert json.loads(report.read_text())["same"]
    edit(folder, 2, lambda v: v["found"].update(flags=["tiled"]))
    assert main(["replay", str(folder)]) == 6
    assert "the first: frame 1: flags are" in capsys.readouterr().err
    assert main(["replay", str(folder), "--frames-only"]) == 0
    assert (
        main(["detect", f"replay://{folder}", "--model", "pit-n", "--json", str(tmp_path / "a.jsonl")]) == 0
    )
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 6
    assert main(detect) == 1, "a second recording into the same folder"
    assert main(["detect", scene, "--record-format", "ffv1"]) == 2
