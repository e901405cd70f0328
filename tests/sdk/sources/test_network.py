# SPDX-License-Identifier: Apache-2.0
"""RTP and HTTP streams from local senders, SDP files, and what a failure says."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk.sources import open_source

SHAPE = (64, 96)
SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=test
c=IN IP4 127.0.0.1
t=0 0
m=video {port} RTP/AVP 96
a=rtpmap:96 MP4V-ES/90000
a=fmtp:96 profile-level-id=1; config={config}
"""


def jpeg(value: int) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(np.full(SHAPE, value, np.uint8)).save(packed, "JPEG", quality=95)
    return packed.getvalue()


def video() -> bytes:
    """Twenty frames with noise, so that half of the file is about half of the frames."""
    packed = io.BytesIO()
    rng = np.random.default_rng(0)
    with av.open(packed, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = SHAPE
        stream.pix_fmt = "gray16le"
        stream.codec_context.gop_size = 1
        for number in range(20):
            image = (rng.integers(0, 1 << 14, SHAPE) + number).astype(np.uint16)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="gray16le")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return packed.getvalue()


class Camera(BaseHTTPRequestHandler):
    """Motion JPEG, until the client goes; 401 without a password."""

    def do_GET(self) -> None:
        if self.path.startswith("/file"):
            data = video()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(data if self.path == "/file.mkv" else data[: len(data) // 2])
            return
        if "Authorization" not in self.headers:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for value in range(10, 250, 8):
                data = jpeg(value)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def camera() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def free_port() -> int:
    """An even port that is free together with the next one, as RTP takes both."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second, contextlib.suppress(OSError):
                second.bind(("127.0.0.1", port + 1))
                if port % 2 == 0:
                    return port


def send(url: str, stop: threading.Event, codec: str) -> None:
    """Gray frames by RTP until told to stop."""
    with av.open(url, "w", format="rtp", options={"pkt_size": "1200"}) as container:
        stream = container.add_stream(codec, rate=50)
        stream.height, stream.width = SHAPE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 5
        number = 0
        while not stop.wait(0.02):
            picture = av.VideoFrame.from_ndarray(np.full(SHAPE, 50 + number % 100, np.uint8), format="gray")
            picture = picture.reformat(format=stream.pix_fmt)
            picture.pts = number
            for packet in stream.encode(picture):
                container.mux(packet)
            number += 1


@contextlib.contextmanager
def sender(port: int, codec: str = "mpeg4") -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=send, args=(f"rtp://127.0.0.1:{port}", stop, codec))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def mpeg4_config() -> str:
    context = av.CodecContext.create("mpeg4", "w")
    context.height, context.width = SHAPE
    context.pix_fmt, context.framerate = "yuv420p", 50
    context.flags |= 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER
    context.open()
    assert context.extradata is not None
    return bytes(context.extradata).hex()


def test_motion_jpeg_over_http_and_no_password_in_a_message(
    camera: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        with open_source(f"http://user:s3cret@{camera}/video.mjpg", timeout_s=5) as source:
            assert source.info.live
            assert source.info.name == f"http://***@{camera}/video.mjpg"
            frames = [next(source) for _ in range(5)]
        with pytest.raises(sdk.SourceError, match="check user and password"):
            open_source(f"http://{camera}/video.mjpg?token=s3cret", timeout_s=5)
    assert [round(float(frame.image.mean())) for frame in frames] == [10, 18, 26, 34, 42]
    assert frames[0].flags == ("lossy",)
    assert "s3cret" not in caplog.text


def test_a_video_over_http_ends_and_a_cut_one_is_lost(camera: str) -> None:
    with open_source(f"http://{camera}/file.mkv", timeout_s=5) as source:
        assert not source.info.live, "it would be opened again at its end"
        frames = list(source)
    assert len(frames) == source.info.count == 20
    assert frames[0].image.dtype == np.uint16
    with pytest.raises(sdk.SourceError):
        list(open_source(f"http://{camera}/file-cut.mkv", timeout_s=2))


def test_rtp_by_its_session_description(tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "stream.sdp"
    path.write_text(SDP.format(port=port, config=mpeg4_config()))
    with sender(port), open_source(path, timeout_s=5) as source:
        assert source.info.kind == "sdp"
        values = [float(next(source).image.mean()) for _ in range(5)]
    steps = np.diff(values)
    # One step of brightness a frame, to the codec's rounding; the ramp falls back once in 100 frames.
    assert np.count_nonzero(np.abs(steps - 1) < 0.6) >= 3


def test_silence_is_a_timeout(tmp_path: Path) -> None:
    path = tmp_path / "stream.sdp"
    path.write_text(SDP.format(port=free_port(), config=mpeg4_config()))
    # The description alone may be enough to open the stream; the first frame then is waited for.
    with pytest.raises(sdk.SourceTimeout, match="timeout_s"):
        next(open_source(path, timeout_s=0.5))


def test_a_missing_session_description(tmp_path: Path) -> None:
    with pytest.raises(sdk.SourceError, match="no such session description"):
        open_source(tmp_path / "none.sdp")


def test_a_near_miss_of_a_scheme_is_pointed_out() -> None:
    with pytest.raises(sdk.SourceError, match=r"rtps:// is not supported; did you mean rtsp"):
        open_source("rtps://user:pw@camera/x")
