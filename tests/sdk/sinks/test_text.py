# SPDX-License-Identifier: Apache-2.0
"""Text outputs: complete after every frame, and after a full disk."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.sinks import Coco, JsonLines, Mot, open_sinks

DiskOf = Callable[[int], AbstractContextManager[None]]

MAKERS = {"json": JsonLines, "coco": Coco, "mot": Mot}


def objects(path: Path) -> list[Any]:
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text("utf-8").splitlines()]


def test_json_is_one_object_a_frame_there_at_once(tmp_path: Path, shots: list[Any]) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLines(path)
    for count, (frame, found) in enumerate(shots, start=1):
        sink.write(frame, found)
        assert len(objects(path)) == count, "a line is there as soon as it was written"
    sink.close()
    sink.close()
    lines = objects(path)
    assert [line["frame_id"] for line in lines] == list(range(12))
    assert {line["schema"] for line in lines} == {"pitviper.detections/1"}
    assert [len(line["targets"]) for line in lines] == [len(found) for _, found in shots]
    with pytest.raises(sdk.SinkError, match="closed"):
        sink.write(*shots[0])


def test_json_has_no_nan(tmp_path: Path, shots: list[Any]) -> None:
    frame, found = shots[0]
    unknown = sdk.Detections(
        **{key: getattr(found, key) for key in ("xy", "xyxy", "score", "mean", "area_px")},
        snr=np.full(len(found), np.nan, np.float32),
        shape=found.shape,
    )
    sink = JsonLines(tmp_path / "out.jsonl")
    sink.write(frame, unknown)
    sink.close()
    (line,) = objects(tmp_path / "out.jsonl")
    assert [target["snr"] for target in line["targets"]] == [None, None]


def test_json_to_the_standard_output_and_to_a_stream(
    capsys: pytest.CaptureFixture[str], shots: list[Any]
) -> None:
    sink = JsonLines("-")
    sink.write(*shots[0])
    sink.close()
    assert json.loads(capsys.readouterr().out)["frame_id"] == 0
    text = io.StringIO()
    sink = JsonLines(text)
    sink.write(*shots[1])
    sink.close()
    assert json.loads(text.getvalue())["frame_id"] == 1, "a stream that was passed in stays open"


def test_coco_is_valid_after_every_frame(tmp_path: Path, shots: list[Any]) -> None:
    path = tmp_path / "results.json"
    sink = Coco(path)
    assert json.loads(path.read_text()) == []
    total = 0
    for frame, found in shots:
        sink.write(frame, found)
        total += len(found)
        assert len(json.loads(path.read_text())) == total
    sink.close()
    rows = json.loads(path.read_text())
    assert rows[0] == {
        "image_id": 0,
        "category_id": 1,
        "bbox": [60.0, 5.0, 1.0, 1.0],
        "area": 1,
        "score": 0.9,
    }


def test_mot_counts_from_one(tmp_path: Path, shots: list[Any]) -> None:
    sink = Mot(tmp_path / "mot.txt")
    for frame, found in shots:
        sink.write(frame, found)
    sink.close()
    rows = [line.split(",") for line in (tmp_path / "mot.txt").read_text().splitlines()]
    assert len(rows) == sum(len(found) for _, found in shots)
    # Target of one pixel at row 5, column 60 of frame 0.
    assert rows[0][:7] == ["1", "-1", "61", "6", "1", "1", "0.9"]


@pytest.mark.parametrize("kind", MAKERS)
def test_full_disk_keeps_what_was_written(
    tmp_path: Path, shots: list[Any], kind: str, disk_of: DiskOf
) -> None:
    path = tmp_path / "out"
    sink = MAKERS[kind](path)
    sizes = []
    for frame, found in shots[:6]:
        sink.write(frame, found)
        sizes.append(path.stat().st_size)
    # Room for a part of the next entry only.
    with disk_of(sizes[-1] + 10), pytest.raises(sdk.SinkError, match=r"out: cannot be written .*valid"):
        sink.write(*shots[6])
    assert path.stat().st_size == sizes[-1], "the torn entry was taken back"
    sink.write(*shots[7])
    sink.close()
    expected = [index for index in (*range(6), 7) for _ in range(max(1, len(shots[index][1])))]
    if kind == "json":
        assert [line["frame_id"] for line in objects(path)] == [*range(6), 7]
    elif kind == "coco":
        ids = [row["image_id"] for row in json.loads(path.read_text())]
        assert ids == [index for index in expected if len(shots[index][1])]
    else:
        ids = [int(line.split(",")[0]) - 1 for line in path.read_text().splitlines()]
        assert ids == [index for index in expected if len(shots[index][1])]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
@pytest.mark.parametrize("kind", MAKERS)
def test_device_that_is_always_full(shots: list[Any], kind: str) -> None:
    def use() -> None:
        sink = MAKERS[kind]("/dev/full")
        sink.write(*shots[0])

    with pytest.raises(sdk.SinkError, match=r"/dev/full: cannot be written .*space") as caught:
        use()
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("kind", ["video", "json", "coco", "mot"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("missing/out.mp4", "make it first"),
        ("folder.mp4", "existing folder"),
        ("file/out.mp4", "not a folder"),
    ],
)
def test_path_that_cannot_be(tmp_path: Path, kind: str, place: str, message: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(sdk.SinkError, match=message) as caught:
        open_sinks(**{kind: tmp_path / place})
    assert place in str(caught.value)


def test_all_outputs_or_none(tmp_path: Path, shots: list[Any]) -> None:
    with pytest.raises(sdk.SinkError, match="each output its own path"):
        open_sinks(json=tmp_path / "a", mot=tmp_path / "x" / ".." / "a")
    with pytest.raises(sdk.SinkError, match="make it first"):
        open_sinks(json=tmp_path / "a.jsonl", video=tmp_path / "missing" / "a.mp4")
    sinks = open_sinks(
        video=tmp_path / "v.mp4",
        json=tmp_path / "a.jsonl",
        masks=tmp_path / "m",
        coco=tmp_path / "c.json",
        mot=tmp_path / "t.txt",
        fps=25,
    )
    for frame, found in shots:
        for sink in sinks:
            sink.write(frame, found)
    for sink in sinks:
        sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "c.json", "m", "t.txt", "v.mp4"]
    assert open_sinks() == []


@pytest.mark.parametrize("kind", ["json", "coco", "mot"])
def test_an_output_that_cannot_be_opened_leaves_the_others_as_they_were(tmp_path: Path, kind: str) -> None:
    kept = tmp_path / f"kept.{kind}"
    kept.write_text("precious\n")
    with pytest.raises(sdk.SinkError, match="needs one of the suffixes"):
        open_sinks(**{kind: kept}, video=tmp_path / "out.png")  # type: ignore[arg-type]
    assert kept.read_text() == "precious\n"
    kept.unlink()
    with pytest.raises(sdk.SinkError, match="needs one of the suffixes"):
        open_sinks(**{kind: kept}, video=tmp_path / "out.png")  # type: ignore[arg-type]
    assert not kept.exists(), "a file that was made for nothing is left"


@pytest.mark.parametrize("kind", ["json", "coco", "mot"])
def test_what_a_file_held_is_gone_with_the_first_frame_or_at_the_end(
    tmp_path: Path, kind: str, shots: list[Any]
) -> None:
    for frames in (0, 1):
        kept = tmp_path / f"kept{frames}.{kind}"
        kept.write_text("of an earlier run, longer than what comes now\n" * 50)
        (sink,) = open_sinks(**{kind: kept})  # type: ignore[arg-type]
        for frame, found in shots[:frames]:
            sink.write(frame, found)
            assert "earlier" not in kept.read_text()
        sink.close()
        assert "earlier" not in kept.read_text()
