# SPDX-License-Identifier: Apache-2.0
"""Network cameras that die, stall, lie or lose packets: real sockets, real decoders, one stream that goes on."""

from __future__ import annotations

import gc
import io
import itertools
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from pitviper import sdk

from .conftest import adds_up, follow, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

QUICK = sdk.Reconnect(first_s=0.01, longest_s=0.05, give_up_s=None)
SHAPE = (48, 64)


def jpeg(number: int) -> bytes:
    image = np.random.default_rng(number).normal(100, 2, SHAPE).clip(0, 255).astype(np.uint8)
    image[20:23, 5 + number % 50 : 8 + number % 50] = 250
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=95)
    return packed.getvalue()


class Camera:
    """An HTTP camera (motion JPEG). Each connection runs the next scene, which ends it by returning.

    Attributes:
        sent: Whole pictures that were sent, over all connections.
    """

    def __init__(self, scenes: Iterator[Callable[[Camera, socket.socket], None]]) -> None:
        self._scenes = scenes
        self.sent = 0
        self.stopped = threading.Event()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self.port = 0

    def start(self) -> None:
        self.stopped.clear()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, args=(self._listener,))]
        self._threads[0].start()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(4096)
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
                    )
                    next(self._scenes)(self, connection)

    def send(self, connection: socket.socket, data: bytes) -> None:
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data + b"\r\n")

    def stop(self) -> None:
        """As if the server's process were killed: nobody listens any more."""
        self.stopped.set()
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.port}/live"


def pictures(count: int) -> Callable[[Camera, socket.socket], None]:
    """Send so many pictures and hang up."""

    def scene(camera: Camera, connection: socket.socket) -> None:
        for _ in range(count):
            camera.send(connection, jpeg(camera.sent))
            camera.sent += 1

    return scene


def until_stopped(camera: Camera, connection: socket.socket) -> None:
    while not camera.stopped.wait(0.005):
        camera.send(connection, jpeg(camera.sent))
        camera.sent += 1


def silence(camera: Camera, connection: socket.socket) -> None:
    """Three pictures, and then nothing, without hanging up, until the other side does."""
    pictures(3)(camera, connection)
    connection.recv(1)


def cut(camera: Camera, connection: socket.socket) -> None:
    """Three pictures, and half of a fourth."""
    pictures(3)(camera, connection)
    data = jpeg(camera.sent)
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data[: len(data) // 2])


@pytest.fixture
def make_camera() -> Iterator[Callable[..., Camera]]:
    made: list[Camera] = []

    def make(*scenes: Callable[[Camera, socket.socket], None]) -> Camera:
        made.append(Camera(itertools.chain(scenes, itertools.repeat(until_stopped))))
        made[-1].start()
        return made[-1]

    yield make
    for camera in made:
        camera.stop()


@pytest.mark.parametrize("mode", ["all", "latest"])
def test_a_server_that_is_killed_and_started_again(
    detector: sdk.Detector, make_camera: Callable[..., Camera], mode: str, caplog: Any
) -> None:
    camera = make_camera()
    with detector.stream(camera.url, mode=mode, reconnect=QUICK) as stream:
        follow(stream, lambda found: stream.stats.processed >= 5)
        camera.stop()
        wait_until(lambda: stream.read(0.01) is None and stream.state == "reconnecting", "the loss to show")
        camera.start()
        results = follow(stream, lambda found: "reconnected" in found.flags or stream.stats.reconnects)
        follow(stream, lambda found: stream.state == "live" and stream.stats.processed > 12)
        ids = [found.frame_id for found in results]
        assert ids == sorted(set(ids))
        assert stream.stats.reconnects == 1
    assert stream.state == "closed"
    assert adds_up(stream.stats, stream.stats.captured)
    if mode == "all":
        assert stream.stats.flagged["reconnected"] == stream.stats.flagged["after_gap"] == 1
        assert set(stream.stats.dropped) <= {"closed"}
    assert "secret" not in caplog.text


@pytest.mark.parametrize("scene", [silence, cut, pictures(4)], ids=["silence", "cut", "hang_up"])
def test_a_camera_that_stalls_or_breaks_off_comes_back(
    detector: sdk.Detector, make_camera: Callable[..., Camera], scene: Any
) -> None:
    camera = make_camera(scene, scene)
    with detector.stream(camera.url, mode="all", reconnect=QUICK, timeout_s=0.6) as stream:
        results = follow(stream, lambda found: stream.stats.reconnects == 2 and stream.state == "live")
        first = [found for found in results if "reconnected" in found.flags]
        assert all("after_gap" in found.flags for found in first)
        assert 1 <= len(first) <= 2
        assert [found.frame_id for found in results] == [*range(results[-1].frame_id + 1)]
    assert adds_up(stream.stats, stream.stats.captured)
    assert len(results) >= 6, "whole pictures before a break are not lost with it"


def garbled(camera: Camera, connection: socket.socket) -> None:
    """Four pictures, two that are none although every byte of them came, and more pictures."""
    pictures(4)(camera, connection)
    for turn in range(2):
        camera.send(connection, np.random.default_rng(turn).bytes(900))
    until_stopped(camera, connection)


def test_a_picture_that_cannot_be_decoded_is_counted_and_the_stream_goes_on(
    detector: sdk.Detector, make_camera: Callable[..., Camera]
) -> None:
    camera = make_camera(garbled)
    with detector.stream(camera.url, mode="all", reconnect=QUICK) as stream:
        results = follow(stream, lambda found: stream.stats.processed >= 12)
        assert (stream.state, stream.stats.reconnects) == ("live", 0)
    assert stream.stats.dropped["unreadable"] == 2
    assert [found.frame_id for found in results if "after_gap" in found.flags] == [4]
    assert adds_up(stream.stats, stream.stats.captured - 2)


def test_nothing_but_garbage_is_a_loss(detector: sdk.Detector, make_camera: Callable[..., Camera]) -> None:
    def garbage(camera: Camera, connection: socket.socket) -> None:
        pictures(4)(camera, connection)
        for turn in range(200):
            camera.send(connection, np.random.default_rng(turn).bytes(900))

    camera = make_camera(garbage)
    with detector.stream(camera.url, mode="all", reconnect=QUICK) as stream:
        follow(stream, lambda found: "reconnected" in found.flags)
        assert stream.stats.reconnects == 1
    assert adds_up(stream.stats, stream.stats.captured - stream.stats.dropped["unreadable"])


def test_a_hundred_connections_opened_and_closed(
    detector: sdk.Detector, make_camera: Callable[..., Camera]
) -> None:
    camera = make_camera()

    def resident_kib() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() // 1024

    for turn in range(100):
        with detector.stream(camera.url, mode=("all", "latest")[turn % 2]) as stream:
            if turn % 3:
                next(stream)
        assert stream.state == "closed"
        assert adds_up(stream.stats, stream.stats.captured)
        if turn == 20:
            gc.collect()
            before = resident_kib()
    gc.collect()
    # A decoder or a connection that was forgotten keeps more than 50 KiB each time.
    assert resident_kib() - before < 79 * 25


def test_a_camera_that_does_not_come_back_is_given_up(
    detector: sdk.Detector, make_camera: Callable[..., Camera]
) -> None:
    camera = make_camera()
    policy = sdk.Reconnect(first_s=0.01, longest_s=0.05, give_up_s=0.5)
    with detector.stream(camera.url, reconnect=policy, timeout_s=5) as stream:
        next(stream)
        camera.stop()
        with pytest.raises(sdk.SourceLost, match=r"lost, and \d+ attempts .* failed") as caught:
            list(stream)
        assert "secret" not in str(caught.value)
        assert stream.state == "failed"
    assert adds_up(stream.stats, stream.stats.captured)


def test_without_reconnect_a_loss_is_raised_at_once(
    detector: sdk.Detector, make_camera: Callable[..., Camera]
) -> None:
    camera = make_camera(pictures(4))
    with detector.stream(camera.url, mode="all", reconnect=False) as stream:
        with pytest.raises(sdk.SourceLost):
            list(stream)
        assert stream.stats.reconnects == 0
        assert stream.state == "failed"


def test_a_size_that_changes_in_the_middle(
    detector: sdk.Detector, make_camera: Callable[..., Camera]
) -> None:
    def other_size(camera: Camera, connection: socket.socket) -> None:
        pictures(4)(camera, connection)
        packed = io.BytesIO()
        Image.fromarray(np.full((64, 96), 90, np.uint8)).save(packed, "JPEG", quality=95)
        for _ in range(4):
            camera.send(connection, packed.getvalue())

    camera = make_camera(other_size)
    tracker, monitor = sdk.Tracker(clock="host"), sdk.ThermalMonitor()
    with detector.stream(camera.url, mode="all", reconnect=QUICK, tracker=tracker, monitor=monitor) as stream:
        results = follow(stream, lambda found: stream.stats.reconnects)
    shapes = [found.shape for found in results]
    assert (48, 64) in shapes
    assert (64, 96) in shapes
    changed = [found for found in results if "shape_changed" in found.flags]
    assert changed[0].shape == (64, 96)
    assert adds_up(stream.stats, stream.stats.captured)


def transport_stream(count: int) -> bytes:
    """MPEG-TS of so many pictures, each one decodable on its own."""
    packed = io.BytesIO()
    with av.open(packed, "w", format="mpegts") as container:
        encoder: Any = container.add_stream("mpeg2video", rate=25)
        encoder.width, encoder.height, encoder.pix_fmt = 192, 144, "yuv420p"
        encoder.codec_context.gop_size = 1
        for number in range(count):
            luma = np.random.default_rng(number).normal(100, 20, (216, 192)).clip(16, 235).astype(np.uint8)
            luma[144:] = 128
            for packet in encoder.encode(av.VideoFrame.from_ndarray(luma, format="yuv420p")):
                container.mux(packet)
        for packet in encoder.encode(None):
            container.mux(packet)
    return packed.getvalue()


def test_lost_packets_are_no_end(detector: sdk.Detector) -> None:
    """One datagram of a hundred is lost on its way: pictures are damaged, flagged or missing, and the rest comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, enough = transport_stream(50), threading.Event()
    size = 7 * 188
    parts = [data[at : at + size] for at in range(0, len(data), size)]

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for turn in itertools.count():
                for number, part in enumerate(parts):
                    if enough.is_set():
                        return
                    if (number + turn) % 100 != 57:
                        sender.sendto(part, ("127.0.0.1", port))
                    enough.wait(0.0005)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with detector.stream(f"udp://127.0.0.1:{port}", mode="all", timeout_s=60) as stream:
            follow(stream, lambda found: stream.stats.processed >= 60)
    finally:
        enough.set()
        thread.join()
    assert stream.state == "closed"
    assert set(stream.stats.dropped) <= {"closed"}
    assert stream.stats.reconnects == 0
    assert stream.stats.flagged.get("corrupt", 0) < 60, "most pictures are whole"
    assert adds_up(stream.stats, stream.stats.captured)
