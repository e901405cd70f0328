# SPDX-License-Identifier: Apache-2.0
"""`open_source`: arrays, functions, scenes, cameras and network streams, and what is refused."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.core.synthetic import Scene, SceneConfig
from pitviper.sdk.sources import Frame, open_source
from pitviper.sdk.sources.live import redact
from pitviper.sdk.sources.schemes import SCHEMES


def test_array_of_frames_is_not_copied() -> None:
    frames = np.random.default_rng(0).integers(0, 9999, (5, 40, 48)).astype(np.uint16)
    source = open_source(frames)
    assert (source.info.count, source.info.width, source.info.height) == (5, 48, 40)
    read = list(source)
    assert all(np.shares_memory(frame.image, frames) for frame in read)
    assert np.array_equal(np.stack([frame.image for frame in read]), frames)
    (one,) = open_source(frames[0])
    assert np.array_equal(one.image, frames[0])
    (planes,) = open_source(np.dstack([frames[1]] * 3))
    assert np.array_equal(planes.image, frames[1])


def test_generator_is_read_lazily_and_closed() -> None:
    events: list[str] = []

    def camera() -> Iterator[Any]:
        try:
            for number in range(100):
                events.append(f"read {number}")
                yield np.full((32, 32), number, np.uint16)
        finally:
            events.append("closed")

    source = open_source(camera())
    assert [next(source).image[0, 0] for _ in range(2)] == [0, 1]
    source.close()
    assert events == ["read 0", "read 1", "closed"]


def test_function_is_called_until_none_and_is_live() -> None:
    frames = [np.full((32, 32), 7, np.uint8), np.full((32, 32), 8, np.uint8)]
    source = open_source(lambda: frames.pop(0) if frames else None)
    assert source.info.live
    assert [frame.image[0, 0] for frame in source] == [7, 8]
    assert not open_source(lambda: None, live=False).info.live


def test_bad_item_in_the_middle_is_named_or_skipped() -> None:
    good = np.zeros((32, 32), np.uint16)
    items = [good, good.astype(np.float64), good]
    source = open_source(items)
    next(source)
    with pytest.raises(sdk.InputError, match=r"frame 1 .*float64"):
        next(source)
    lenient = open_source(items, on_error="skip")
    assert [(frame.index, frame.flags) for frame in lenient] == [(0, ()), (2, ("after_gap",))]
    assert lenient.skipped == 1


def test_synthetic_uri_equals_the_scene() -> None:
    source = open_source("synthetic://sea?width=64&height=48&frames=4&seed=9&snr=8,20&kinds=ship&bits=12")
    config = SceneConfig(
        width=64, height=48, frames=4, seed=9, clutter="sea", snr=(8.0, 20.0), kinds=("ship",), bits=12
    )
    frames = list(source)
    assert source.info.count == 4
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    for frame, view in zip(frames, Scene(config), strict=True):
        assert np.array_equal(frame.image, view.frame)
        assert frame.time.sensor_ns == view.time_ns
    assert next(open_source("synthetic://?frames=none&width=32&height=32")).image.shape == (32, 32)
    assert next(open_source(Scene(config))).image.shape == (48, 64)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("synthetic://?wide=3", "unknown key 'wide'"),
        ("synthetic://?width=x", "width=x"),
        ("synthetic://?snr=3", "LOW,HIGH"),
        ("synthetic://fog", "clutter must be one of"),
        ("synthetic://?seed=1&seed=2", "seed is given twice"),
        ("synthetic://sea?clutter=sky", "clutter is given twice"),
        ("", "empty path"),
        (None, "None is no source"),
        (True, "True is no source"),
        (2.5, "a float is no source"),
        (b"a.mp4", "a bytes is no source"),
        ([], "empty list"),
        (np.zeros((0, 32, 32), np.uint8), "at least one frame"),
        (np.zeros(5, np.uint8), r"\[N, H, W\]"),
    ],
)
def test_refused_with_the_fix(spec: Any, message: str) -> None:
    with pytest.raises(sdk.InputError, match=message):
        open_source(spec)


def test_arguments_out_of_range() -> None:
    with pytest.raises(sdk.InputError, match="on_error"):
        open_source("x.mp4", on_error="ignore")
    with pytest.raises(sdk.InputError, match="timeout_s"):
        open_source("x.mp4", timeout_s=0)


@pytest.mark.parametrize("spec", [973, "973", "/dev/video973", "v4l2:///dev/video973"])
def test_missing_camera(spec: Any) -> None:
    with pytest.raises(sdk.SourceError, match=r"/dev/video973: no such camera"):
        open_source(spec)


def test_unknown_scheme_names_those_that_work() -> None:
    with pytest.raises(sdk.SourceError, match="rtsp://"):
        open_source("gopher://camera")


def test_password_never_appears(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with caplog.at_level(logging.DEBUG), pytest.raises(sdk.SourceError) as caught:
        open_source(f"rtsp://admin:s3cr/et@127.0.0.1:{port}/live?token=s3cret2", timeout_s=2)
    error = caught.value
    said = f"{error} {error!r} {error.__cause__} {error.__context__} {caplog.text}"
    assert "s3c" not in said
    assert "admin" not in said
    assert f"***@127.0.0.1:{port}/live" in str(error)


def test_silent_server_is_a_timeout() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(sdk.SourceTimeout, match="timeout_s"):
            open_source(f"rtsp://127.0.0.1:{server.getsockname()[1]}/live", timeout_s=0.5)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("rtsp://u:p@h/x", "rtsp://***@h/x"),
        ("rtsp://u:p@ss@h:554/x", "rtsp://***@h:554/x"),
        ("cannot open 'rtsp://u:p@h/x'", "cannot open 'rtsp://***@h/x'"),
        ("rtsp://h/x?user=a&Password=b&q=1", "rtsp://h/x?user=***&Password=***&q=1"),
        ("rtsp://h/x", "rtsp://h/x"),
    ],
)
def test_redact(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_frames_have_three_times() -> None:
    frame = next(open_source("synthetic://?frames=1&width=32&height=32"))
    assert isinstance(frame, Frame)
    assert frame.time.host_ns > 0
    assert frame.time.utc_ns > 1_600_000_000 * 10**9


def test_import_starts_no_thread_and_loads_no_decoder() -> None:
    code = (
        "import threading, sys, pitviper.sdk.sources, pitviper.sdk.sinks; "
        "assert threading.active_count() == 1; assert 'av' not in sys.modules and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "spec", ["synthetic://sky", "frame.png", "film.mkv", np.zeros((2, 64, 64), np.uint8)]
)
def test_options_of_a_camera_are_not_ignored_elsewhere(
    spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("frame.png", "film.mkv"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sdk.InputError, match="framerate"):
        open_source(spec, options={"framerate": "9"})


def test_every_scheme_of_the_table_opens_or_says_what_is_missing() -> None:
    opened = [scheme.names[0] for scheme in SCHEMES if not scheme.missing()]
    assert {"file", "watch", "v4l2", "rtsp", "rtp", "http", "replay", "synthetic"} <= set(opened)
    for scheme in SCHEMES:
        module, _, name = scheme.opener.partition(":")
        assert callable(getattr(import_module(f"pitviper.sdk.{module}"), name))
        assert scheme.summary
        assert scheme.example


def test_a_file_by_uri_keeps_odd_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a b?#[1]"
    folder.mkdir()
    Image.fromarray(np.full((40, 48), 9, np.uint16)).save(folder / "f.png")
    (frame,) = open_source(f"file://{quote(str(folder))}/f.png")
    assert frame.image[0, 0] == 9


@pytest.mark.parametrize("text", ["synthetic://[", "synthetic://sea]?seed=1"])
def test_brackets_in_a_scene_are_an_input_error(text: str) -> None:
    with pytest.raises(sdk.InputError, match="clutter"):
        open_source(text)
