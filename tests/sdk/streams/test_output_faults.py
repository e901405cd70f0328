# SPDX-License-Identifier: Apache-2.0
"""Outputs that are slow or full: what is written is valid, and every frame is counted."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pitviper import sdk
from pitviper.sdk.sinks import Coco, JsonLines

from .conftest import Script, adds_up

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def full_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Files with a name run into a full disk after so many bytes, in the middle of a write, as real disks do."""
    write = os.write

    def arrange(name: str, room: int) -> None:
        left = [room]

        def limited(file: int, data: bytes) -> int:
            if not os.readlink(f"/proc/self/fd/{file}").endswith(name):
                return write(file, data)
            if left[0] <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done = write(file, data[: left[0]])
            left[0] -= done
            return done

        monkeypatch.setattr(os, "write", limited)

    return arrange


@pytest.mark.parametrize("mode", ["all", "throughput"])
def test_a_full_disk(detector: sdk.Detector, tmp_path: Path, full_after: Any, mode: str) -> None:
    full_after("out.jsonl", 2500)
    out, coco, source = tmp_path / "out.jsonl", tmp_path / "coco.json", Script(range(40))
    stream = detector.stream(source, mode=mode, sinks=[Coco(coco), JsonLines(out)])
    returned: list[int] = []
    with pytest.raises(sdk.SinkError, match="No space left") as caught:
        returned.extend(found.frame_id for found in stream)
    assert caught.value.errno == errno.ENOSPC
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["frame_id"] for row in rows] == returned
    assert len(returned) >= 1
    assert isinstance(json.loads(coco.read_text()), list)
    assert (stream.state, stream.stats.dropped["failed"]) == ("failed", 1)
    assert adds_up(stream.stats, source.given)


def test_an_output_that_cannot_be_finished(detector: sdk.Detector) -> None:
    class Unfinished:
        def write(self, frame: Any, found: sdk.Detections) -> None:
            pass

        def close(self) -> None:
            raise sdk.SinkError("disk full")

    source = Script(range(3))
    stream = detector.stream(source, mode="all", sinks=[Unfinished()])
    with pytest.raises(sdk.SinkError, match="disk full"):
        list(stream)
    assert stream.state == "ended"
    assert adds_up(stream.stats, 3)
