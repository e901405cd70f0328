# SPDX-License-Identifier: Apache-2.0
"""The tracker behind a detector: in streams, files, pictures and on the command line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk.cli import exits, main
from pitviper.sdk.draw import annotate
from pitviper.sdk.sinks import AnnotatedVideo, JsonLines, Mot
from pitviper.sdk.sources import Frame, FrameTime
from pitviper.sdk.trails import Trails, track_colour

At = Callable[..., sdk.Detections]
SCENE = "synthetic://sky?width=96&height=64&frames=8&seed=3&targets=1&snr=25,30&size_px=9,12&speed_px=0.5,1"
FAST = ["--model", "pit-n", "--threads", "1", "--max-targets", "16"]


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.found: list[sdk.Detections] = []

    def write(self, frame: Any, detections: sdk.Detections) -> None:
        self.found.append(detections)

    def close(self) -> None:
        pass


def frames(sensor: bool = True) -> Iterator[Frame]:
    """A bright spot that walks to the right over a noisy frame."""
    rng = np.random.default_rng(0)
    for number in range(8):
        image = rng.normal(7800, 12, (64, 96)).astype(np.uint16)
        image[30:32, 20 + 2 * number : 22 + 2 * number] += 900
        yield Frame(image, number, FrameTime(number * 40_000_000 if sensor else None, 0, 0))


class Walk:
    """The walk as a source."""

    files = ()

    def __init__(self, sensor: bool = True) -> None:
        self.info = type("Info", (), {"live": False})()
        self._frames = frames(sensor)

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def close(self) -> None:
        pass


@pytest.fixture
def detector() -> Iterator[sdk.Detector]:
    with sdk.Detector("pit-n", threads=1, warmup=False) as made:
        yield made


def test_a_stream_gives_ids_to_results_and_sinks(detector: sdk.Detector) -> None:
    sink, tracker = Recorder(), sdk.Tracker()
    with detector.stream(Walk(), tracker=tracker, sinks=[sink]) as stream:
        results = list(stream)
    assert stream.tracker is tracker
    (track,) = results[-1].tracks or ()
    assert (track.id, track.state) == (1, "confirmed")
    assert track.vx == pytest.approx(50, abs=5), "two pixels in 40 ms"
    assert 1 in results[-1].track_id.tolist()
    assert [found.track_id.tolist() for found in sink.found] == [found.track_id.tolist() for found in results]


def test_a_source_without_times_ends_the_stream_with_the_fix(detector: sdk.Detector) -> None:
    for policy in ("raise", "skip"):
        stream = detector.stream(Walk(sensor=False), tracker=sdk.Tracker(), on_error=policy)
        with pytest.raises(sdk.SdkError, match="frames per second"):
            next(stream)
        assert stream.state == "failed"
        assert stream.stats.dropped["failed"] == 1
    with detector.stream(Walk(sensor=False), tracker=sdk.Tracker(clock=25.0)) as stream:
        assert len(list(stream)[-1].tracks or ()) == 1


def followed(at: At, count: int = 10, lost: int = 0) -> list[sdk.Detections]:
    tracker = sdk.Tracker(clock=25.0)
    return [
        tracker.update(at([[20.5 + 5 * n, 40.5]] if n < count - lost else [], n, shape=(80, 120)))
        for n in range(count)
    ]


def test_json_has_tracks_and_is_unchanged_without(at: At) -> None:
    assert "tracks" not in at([[1, 2]]).to_dict()
    (track,) = json.loads(followed(at)[-1].to_json())["tracks"]
    assert (track["id"], track["state"], track["hits"]) == (1, "confirmed", 10)
    assert track["vx"] == pytest.approx(125, abs=1)


def test_mot_holds_detections_without_a_tracker_and_tracks_behind_one(at: At, tmp_path: Path) -> None:
    points = [[20.5, 40.5], [90.5, 30.5]]
    assert [line.split(",")[1] for line in at(points).to_mot()] == ["-1", "-1"]
    sink = Mot(tmp_path / "tracks.txt")
    for number, found in enumerate(followed(at)):
        sink.write(Frame(np.zeros((80, 120), np.uint8), number, FrameTime.now()), found)
    sink.close()
    rows = [line.split(",") for line in (tmp_path / "tracks.txt").read_text().splitlines()]
    # Confirmed in the third frame; frames and pixels count from 1.
    assert [(row[0], row[1]) for row in rows] == [(str(n), "1") for n in range(3, 11)]
    assert [float(value) for value in rows[0][2:6]] == [30.0, 40.0, 3.0, 3.0]


def test_trails_show_where_a_track_came_from_and_cover_no_target(at: At) -> None:
    trails, gray = Trails(), np.full((80, 120), 60, np.uint8)
    for number, found in enumerate(followed(at)):
        picture = annotate(Frame(gray, number, FrameTime.now()), found, scale=2, trails=trails)
    colour = np.array(track_colour(1))
    marked = np.abs(picture[:160].astype(int) - colour).max(axis=2) < 120
    assert marked[78:84, 60:90].any(), "the trail leads back"
    x, y = 2 * 65.5, 2 * 40.5
    assert (picture[int(y) - 4 : int(y) + 4, int(x) - 4 : int(x) + 4] == 60).all(), (
        "the target stays as it is"
    )
    alone = annotate(Frame(gray, 9, FrameTime.now()), found, scale=2)
    assert not (np.abs(alone[78:84, 60:90].astype(int) - 60) > 10).any(), (
        "without a history there is no trail"
    )


def test_a_coasting_track_is_drawn_and_a_false_alarm_is_gray(at: At) -> None:
    gray = np.full((80, 120), 60, np.uint8)
    found = followed(at, lost=2)[-1]
    assert (found.tracks or ())[0].state == "coasting"
    picture = annotate(Frame(gray, 9, FrameTime.now()), found, scale=2)[:160]
    bright = np.abs(picture.astype(int) - np.array(track_colour(1))).max(axis=2) < 30
    assert bright[70:95, 115:145].sum() > 10, "a diamond where the target should be"
    tracker = sdk.Tracker(clock=25.0)
    first = tracker.update(at([[60.5, 40.5]], 0, shape=(80, 120)))
    picture = annotate(Frame(gray, 0, FrameTime.now()), first, scale=2)[:160]
    assert (picture[..., 0] == picture[..., 1]).all()
    assert picture.max() > 120


def test_video_with_trails_is_written(at: At, tmp_path: Path) -> None:
    sink = AnnotatedVideo(tmp_path / "out.mp4", fps=25)
    for number, found in enumerate(followed(at)):
        sink.write(Frame(np.full((80, 120), 60, np.uint8), number, FrameTime.now()), found)
    sink.close()
    assert (tmp_path / "out.mp4").stat().st_size > 1000


def test_detect_with_tracks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, mot = tmp_path / "out.jsonl", tmp_path / "mot.txt"
    argv = ["detect", SCENE, "--json", str(out), "--mot", str(mot), "--track", "--confirm", "2/3", *FAST]
    assert main(argv) == exits.OK
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [len(row["tracks"]) for row in rows[:1]] == [0]
    assert rows[-1]["tracks"][0]["id"] == 1
    assert 1 in [target["track_id"] for target in rows[-1]["targets"]]
    assert all(int(line.split(",")[1]) > 0 for line in mot.read_text().splitlines())
    assert "tracks confirmed of" in capsys.readouterr().err


def test_options_of_the_tracker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", SCENE, "--coast", "1", *FAST]) == exits.USAGE
    assert "add --track" in capsys.readouterr().err
    assert main(["detect", SCENE, "--track", "--confirm", "4/3", *FAST]) == exits.USAGE
    assert "1 <= M <= N" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["detect", SCENE, "--track", "--confirm", "many", *FAST])
    for number in range(4):
        image = np.random.default_rng(number).normal(7800, 12, (48, 64)).astype(np.uint16)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = tmp_path / "kept.jsonl"
        kept.write_text("what was found before")
        assert main(["detect", str(tmp_path), "--track", "--json", str(kept), *FAST]) == exits.USAGE
        assert "add --fps 25, say" in capsys.readouterr().err
        assert kept.read_text() == "what was found before", "refused before an output is emptied"
        assert main(["detect", str(tmp_path), "--track", "--fps", "30", *FAST]) == exits.OK


def test_json_lines_of_a_stream(detector: sdk.Detector, tmp_path: Path) -> None:
    with detector.stream(Walk(), tracker=sdk.Tracker(), sinks=[JsonLines(tmp_path / "a.jsonl")]) as stream:
        results = list(stream)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["tracks"] for row in rows] == [[t.to_dict() for t in found.tracks or ()] for found in results]
