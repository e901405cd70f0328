# SPDX-License-Identifier: Apache-2.0
"""The live view: pictures of results, threshold, events, snapshots and recordings, and its application."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk.sources import open_source

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from starlette.testclient import TestClient

from pitviper.sdk.web import LiveView, make_app
from pitviper.sdk.web.guard import HEADER
from pitviper.sdk.web.pacing import PlayedSource

SHAPE = (96, 128)


@pytest.fixture(scope="module")
def detector() -> Iterator[sdk.Detector]:
    with sdk.Detector("pit-n", threads=1) as found:
        yield found


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray[Any, Any]]:
    """Frames of one scene with several targets, 14 bits in uint16."""
    uri = f"synthetic://?height={SHAPE[0]}&width={SHAPE[1]}&frames=6&seed=5&snr=12,25"
    with open_source(uri) as source:
        return [frame.image for frame in source]


class Feed:
    """A callable source that hands out frames when the test allows it."""

    def __init__(self, frames: list[np.ndarray[Any, Any]]) -> None:
        self.frames = frames
        self.given = 0
        self.allowed = threading.Semaphore(0)
        self.ended = False

    def __call__(self) -> np.ndarray[Any, Any] | None:
        self.allowed.acquire()
        if self.ended:
            return None
        self.given += 1
        return self.frames[(self.given - 1) % len(self.frames)]


def reached(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def feed(frames: list[np.ndarray[Any, Any]]) -> Feed:
    return Feed(frames)


@pytest.fixture
def view(detector: sdk.Detector, feed: Feed, tmp_path: Path) -> Iterator[LiveView]:
    made = LiveView(
        feed,
        detector,
        recordings=tmp_path / "kept",
        mode="all",
        timeout_s=60,
        tracker=sdk.Tracker(clock=25.0),
    ).start()
    yield made
    feed.ended = True
    feed.allowed.release()
    made.stop()


def advance(view: LiveView, feed: Feed, count: int = 1) -> None:
    wanted = view.count + count
    for _ in range(count):
        feed.allowed.release()
    reached(
        lambda: view.count >= wanted, f"result {wanted} did not come; the stream is {view.status()['state']}"
    )


def test_a_picture_belongs_to_its_result(view: LiveView, feed: Feed) -> None:
    assert view.picture(1) is None
    assert view.status()["result"] is None
    advance(view, feed, 2)
    content = view.picture(2)
    assert content is not None
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("JPEG", (SHAPE[1], SHAPE[0]))
    assert view.status()["result"]["frame_id"] == 1
    advance(view, feed, 10)
    assert view.picture(2) is None, "old pictures are let go"
    assert view.picture(12) is not None


def test_the_threshold_takes_effect_with_the_next_frame(view: LiveView, feed: Feed) -> None:
    view.threshold = 0.02
    advance(view, feed)
    many = view.status()["result"]
    assert many["threshold"] == pytest.approx(0.02)
    feed.frames = feed.frames[:1]
    view.threshold = 0.999
    advance(view, feed)
    few = view.status()["result"]
    assert len(few["targets"]) < len(many["targets"])
    with pytest.raises(sdk.InputError, match="threshold"):
        view.threshold = 1.5
    assert view.threshold == pytest.approx(0.999)
    assert [e["text"] for e in view.status()["events"] if e["kind"] == "threshold"][-1] == "Threshold 0.999."


def test_the_threshold_goes_back_to_one_that_no_probability_can_say(
    detector: sdk.Detector, feed: Feed
) -> None:
    calibrated = sdk.LogOdds(18.5)
    view = LiveView(feed, detector, threshold=calibrated).start()
    client = TestClient(make_app(view), base_url="http://localhost")
    try:
        status = client.get("/api/status").json()
        assert (status["threshold_text"], status["threshold_changed"]) == ("log-odds 18.5", False)
        client.post("/api/threshold", json={"threshold": 0.25}, headers={HEADER: "1"})
        status = client.get("/api/status").json()
        assert (status["threshold_text"], status["threshold_changed"]) == ("0.25", True)
        assert client.post("/api/threshold", json={"reset": True}, headers={HEADER: "1"}).status_code == 200
        assert repr(view.threshold) == "LogOdds(18.5)"
        assert not view.status()["threshold_changed"]
    finally:
        view.stop()


def test_a_snapshot_holds_every_bit(view: LiveView, feed: Feed) -> None:
    with pytest.raises(sdk.SdkError, match="no frame yet"):
        view.snapshot()
    advance(view, feed)
    name, content = view.snapshot()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        stems = {Path(n).stem for n in archive.namelist()}
        assert stems == {Path(name).stem}
        with Image.open(io.BytesIO(archive.read(f"{Path(name).stem}.png"))) as image:
            kept = np.asarray(image)
        found = json.loads(archive.read(f"{Path(name).stem}.json"))
    assert np.array_equal(kept, feed.frames[0])
    assert found["frame_id"] == 0


def test_recordings_hold_the_frames_between_start_and_stop(
    view: LiveView, feed: Feed, tmp_path: Path
) -> None:
    advance(view, feed)
    view.record(True)
    view.record(True)
    advance(view, feed, 3)
    name = view.status()["recording"]
    view.record(False)
    view.record(False)
    advance(view, feed)
    assert [folder.name for folder in (tmp_path / "kept").iterdir()] == [name]
    with open_source(f"replay://{tmp_path / 'kept' / name}") as source:
        kept = [frame.image for frame in source]
    assert len(kept) == 3
    assert all(np.array_equal(a, b) for a, b in zip(kept, feed.frames[1:4], strict=True))
    texts = [event["text"] for event in view.status()["events"] if event["kind"] == "recording"]
    assert texts == [f"Recording {name} begun.", f"Recording {name} finished."]


def test_tracks_become_events_once(view: LiveView, feed: Feed) -> None:
    rows, columns = np.indices(SHAPE)
    target = 4000 * np.exp(-((rows - 40) ** 2 + (columns - 70) ** 2) / 2)  # which stays where it is
    noise = np.random.default_rng(0).normal(8000, 20, SHAPE)
    feed.frames = [(noise + target).astype(np.uint16)]
    advance(view, feed, 6)
    confirmed = [e["text"] for e in view.status()["events"] if e["kind"] == "track"]
    tracks = [t for t in view.status()["result"]["tracks"] if t["state"] != "tentative"]
    assert tracks
    assert confirmed == [f"Track {t['id']} confirmed." for t in sorted(tracks, key=lambda t: t["id"])]


def test_the_application_shows_and_changes(view: LiveView, feed: Feed) -> None:
    client = TestClient(make_app(view, hosts=("localhost",)), base_url="http://localhost")
    assert client.get("/picture/1.jpg").status_code == 404
    assert client.get("/api/snapshot").status_code == 409
    advance(view, feed)
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    for name in ("page.css", "page.js", "picture.js", "plots.js"):
        assert client.get(f"/{name}").status_code == 200
    assert client.get("/api/about").json()["model"] == "pit-n"
    assert client.get("/picture/1.jpg").headers["content-type"] == "image/jpeg"
    assert client.get("/api/snapshot").headers["content-type"] == "application/zip"
    change = {HEADER: "1"}
    assert client.post("/api/threshold", json={"threshold": 0.25}, headers=change).json() == {
        "threshold": 0.25
    }
    assert view.threshold == 0.25
    assert client.post("/api/recording", json={"recording": True}, headers=change).json()["recording"]
    assert client.post("/api/recording", json={"recording": False}, headers=change).json() == {
        "recording": None
    }


BAD_BODIES = [
    b"", b"{", b"[]", b"null", b"NaN", b'{"threshold": "0.5"}', b'{"threshold": true}', b'{"threshold": NaN}',
    b'{"threshold": 1e999}', b'{"threshold": -1}', b'{"recording": 1}', b"[" * 4000, b"\xff\xfe", b'{"threshold": {}}',
    b'{"reset": false}', b'{"reset": true, "threshold": 0.5}x', b'{"reset": true, "a": 1}',
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES)
def test_bad_bodies_are_refused_with_a_sentence(body: bytes, view: LiveView) -> None:
    client = TestClient(make_app(view), base_url="http://localhost")
    for path in ("/api/threshold", "/api/recording"):
        answer = client.post(path, content=body, headers={HEADER: "1"})
        assert answer.status_code == 400
        assert answer.text.strip()


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/%2e%2e/live.py", "/picture/../../live.py", "/picture/-1.jpg", "/picture/1e3.jpg",
     "/picture/99999999999999999999.jpg", "/page/index.html", "//etc/passwd", "/picture/1.jpg/..%2f"],
)  # fmt: skip
def test_no_path_leads_out(path: str, view: LiveView) -> None:
    client = TestClient(make_app(view), base_url="http://localhost")
    answer = client.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_a_played_file_keeps_its_times_and_goes_on_when_looped(frames: list[np.ndarray[Any, Any]]) -> None:
    source = PlayedSource(lambda: open_source(list(frames[:3])), loop=True, fps=200.0)
    assert source.info.live
    begun = time.monotonic_ns()
    with source:
        taken = [next(source) for _ in range(7)]
    stamps = [frame.time.sensor_ns for frame in taken]
    assert stamps == [5_000_000 * i for i in range(7)]
    assert [frame.index for frame in taken] == list(range(7))
    assert all(np.array_equal(frame.image, frames[i % 3]) for i, frame in enumerate(taken))
    early = [f for f in taken if f.time.host_ns - begun < f.time.sensor_ns]  # type: ignore[operator]
    assert early == [], "a frame came before it was due"
    with pytest.raises(sdk.InputError, match="fps must be a finite number above 0"):
        PlayedSource(lambda: open_source(list(frames)), fps=0.0)
