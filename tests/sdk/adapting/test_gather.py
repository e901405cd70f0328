# SPDX-License-Identifier: Apache-2.0
"""Frames for an adaptation out of a stream: clicks by name, tracks by the detector or as they were recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pitviper import sdk
from pitviper.core.datasets import DatasetError
from pitviper.core.images import read_frame
from pitviper.core.points import read_table, write_points
from pitviper.sdk.adapting import TrackRule, gather
from pitviper.sdk.record import Recorder, Setup

Plant = Callable[..., NDArray[np.uint16]]
RULE = TrackRule(hits=8)


@pytest.fixture
def pictures(plant: Plant) -> list[NDArray[np.uint16]]:
    """40 frames: one target that moves, and one stuck pixel."""
    return [plant((64, 96), {(20, 10 + index): 2, (50, 70): 1}, seed=index) for index in range(40)]


@pytest.fixture
def folder(pictures: list[Any], tmp_path: Path) -> Path:
    made = tmp_path / "frames"
    made.mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(made / f"f{index:02}.png")
    return made


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """Clicks on two frames of the folder, and one on a frame of something else."""
    labels = {f"f{index:02}": np.array([[20, 10 + index]], np.int32) for index in (5, 30)}
    write_points(tmp_path / "points.csv", {**labels, "other": np.array([[1, 1]], np.int32)})
    return tmp_path / "points.csv"


def test_a_folder_with_a_frame_rate(
    detector: sdk.Detector, folder: Path, points: Path, pictures: list[Any], tmp_path: Path
) -> None:
    made = gather(detector, str(folder), points, tmp_path / "out", fps=25.0, rule=RULE)
    facts = made.facts
    assert facts["clicked"] == {"f05": 5, "f30": 30}
    assert (facts["clicks"], facts["clicks_elsewhere"], facts["frames"]) == (2, 1, 40)
    assert facts["tracks"] == {"clicked": 1, "moving": 0, "refuted": 1, "unknown": 0}, (
        "the stuck pixel is refuted"
    )
    tracked = read_table(made.folder / "tracks.csv").labels
    assert set(tracked) == set(facts["tracked"])
    assert 20 <= len(tracked) <= 38
    for name, found in tracked.items():
        index = int(name[1:])
        assert np.abs(found - [20.5, 10.5 + index]).max() <= 1.0
        assert (read_frame(made.folder / f"images/{name}.png") == pictures[index]).all(), "bit for bit"
    assert set(read_table(made.folder / "clicks.csv").labels) == {"f05", "f30"}
    again = gather(detector, str(folder), points, tmp_path / "out", fps=25.0, rule=RULE)
    assert again.continued
    assert again.facts == facts
    with pytest.raises(sdk.InputError, match=r"gathered from other things \(settings differ\)"):
        gather(detector, str(folder), points, tmp_path / "out", fps=30.0, rule=RULE)


def test_unrelated_frames_have_no_tracks(
    detector: sdk.Detector, folder: Path, points: Path, tmp_path: Path
) -> None:
    facts = gather(detector, str(folder), points, tmp_path / "out").facts
    assert sum(facts["tracks"].values()) == 0
    assert facts["tracked"] == {}
    assert len(list((tmp_path / "out/images").iterdir())) == 2


def test_tracks_of_a_recording_are_taken_as_they_are(
    make_detector: Callable[..., sdk.Detector], pictures: list[Any], tmp_path: Path, engine: Any
) -> None:
    folder = tmp_path / "cam"
    with make_detector() as detector:
        setup = Setup("toy", "a" * 64, tracker={"clock": 25.0})
        recorder = Recorder(folder, setup=setup)
        with detector.stream(pictures, sinks=[recorder], tracker=sdk.Tracker(clock=25.0)) as stream:
            assert len(list(stream)) == 40
    write_points(tmp_path / "points.csv", {"cam-000005": np.array([[20, 15]], np.int32)})
    seen = len(engine.shapes)
    with make_detector() as other:
        other.package.manifest.files["network.onnx"] = {"sha256": "a" * 64, "bytes": 0}
        facts = gather(
            other, f"replay://{folder}", tmp_path / "points.csv", tmp_path / "out", rule=RULE
        ).facts
        assert len(engine.shapes) == seen, "nothing was detected again"
        assert facts["recorded_tracks"]
        assert facts["tracks"]["clicked"] == 1
        other.package.manifest.files["network.onnx"]["sha256"] = "b" * 64
        new = gather(other, f"replay://{folder}", tmp_path / "points.csv", tmp_path / "new", fps=25.0).facts
        assert not new["recorded_tracks"], "they are those of another network"
        assert new["tracks"]["clicked"] == 1


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        (
            "image,row,column\nother,1,1\n",
            sdk.SourceError,
            "labels 1 frames, 'other' first, and none of .*its first is called 'f00'",
        ),
        ("image,row,column\nf00,64,1\n", DatasetError, r"outside the frame of 64x96"),
        ("image,row,column\nf00,1,1\nf00,1,1\n", DatasetError, "2 points at row 1"),
        ("image,row,column\n", DatasetError, "lists no frame"),
        (None, sdk.SourceError, "cannot be read .* click points first: pitviper label"),
    ],
)
def test_clicks_that_do_not_fit(
    detector: sdk.Detector,
    folder: Path,
    tmp_path: Path,
    text: str | None,
    error: type[Exception],
    reason: str,
) -> None:
    points = tmp_path / "clicks.csv"
    if text is not None:
        points.write_text(text)
    with pytest.raises(error, match=reason):
        gather(detector, str(folder), points, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_frame_that_cannot_be_read(
    detector: sdk.Detector, folder: Path, points: Path, tmp_path: Path
) -> None:
    (folder / "f20.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(sdk.SourceError, match=r"f20\.png"):
        gather(detector, str(folder), points, tmp_path / "out", fps=25.0)
    assert not (tmp_path / "out/material.json").exists()


def test_a_full_disk_is_told_and_gone_on_from(
    detector: sdk.Detector,
    folder: Path,
    points: Path,
    tmp_path: Path,
    disk_of: Callable[[int], AbstractContextManager[None]],
) -> None:
    with pytest.raises(sdk.SinkError, match="cannot be written"), disk_of(1000):
        gather(detector, str(folder), points, tmp_path / "out")
    assert not (tmp_path / "out/material.json").exists()
    assert not gather(detector, str(folder), points, tmp_path / "out").continued
    facts = json.loads((tmp_path / "out/material.json").read_text())
    assert facts["schema"] == "pitviper.material/1"


def test_live_sources_are_refused(detector: sdk.Detector, points: Path, tmp_path: Path) -> None:
    with pytest.raises(sdk.InputError, match=r"^rtsp://\*\*\*@camera is live; record it first"):
        gather(detector, "rtsp://user:secret@camera", points, tmp_path / "out")
