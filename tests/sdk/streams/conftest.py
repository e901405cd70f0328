# SPDX-License-Identifier: Apache-2.0
"""Sources that a test drives frame by frame, and a check that nothing is left behind."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.sdk.sources import Frame, FrameTime, Source, SourceInfo

DEADLINE_S = 120.0
SYSTEM_PYTHON = "/usr/bin/python3"
"""Has PyGObject, which pip does not install."""
RTSP_PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 python3-gi gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; fail after two minutes, which no machine needs."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        time.sleep(0.002)


def picture(number: int, shape: tuple[int, int] = (40, 48)) -> NDArray[np.uint16]:
    """A noisy frame with its number in the first two pixels and a target that depends on it."""
    image = np.random.default_rng(number).normal(7800, 12, shape).astype(np.uint16)
    image[8 + number % 20, 9] += 900
    image[0, 0], image[0, 1] = 7000 + number // 1000, 7000 + number % 1000
    return image


def number_of(image: NDArray[Any]) -> int:
    """The number that `picture` wrote."""
    return (int(image[0, 0]) - 7000) * 1000 + int(image[0, 1]) - 7000


@dataclass
class Script(Source):
    """A live source that does what its script says: a frame number, an exception, or a function to call.

    Attributes:
        given: Frames that the stream was given.
        closed_by: Names of the threads that closed it.
    """

    script: Any
    live: bool = True
    interval_ns: int = 40_000_000
    given: int = 0
    closed_by: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(SourceInfo("script", "script", fps=25.0, live=self.live))

    def _read(self) -> Iterator[Frame]:
        for step in self.script:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Frame):
                self.given += 1
                yield step
            elif callable(step):
                step()
            else:
                self.given += 1
                yield Frame(picture(step), step, FrameTime.now(step * self.interval_ns))

    def _release(self) -> None:
        self.closed_by.append(threading.current_thread().name)


def adds_up(stats: Any, given: int) -> bool:
    """Every frame that was given to the stream is returned once or counted once, and none is waiting."""
    assert stats.waiting == 0, stats
    assert min([stats.processed, *stats.dropped.values()]) >= 0
    assert stats.captured - stats.dropped.get("unreadable", 0) == given, stats
    return bool(stats.captured == stats.processed + sum(stats.dropped.values()))


def _handles() -> Counter[str]:
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}")] += 1
        except OSError:
            continue  # The handle of the listing itself.
    return found


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """After the test there are the same threads and file handles as before it."""
    threads, handles = set(threading.enumerate()), _handles()
    yield
    if set(threading.enumerate()) <= threads and not _handles() - handles:
        return
    # Threads may be about to end, and a failed stream may hang in the traceback of its error.
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= threads, "threads to end")
    left = _handles() - handles
    assert not left, f"file handles left open: {dict(left)}"


def follow(stream: sdk.Stream, until: Callable[[sdk.Detections], object]) -> list[sdk.Detections]:
    """Results up to the first one for which the condition holds."""
    results = []
    for found in stream:
        results.append(found)
        if until(found):
            return results
    raise AssertionError(f"the stream ended ({stream.state}) after {len(results)} results")


class RtspCamera:
    """The server of ``rtsp_server.py``, a process that can be stopped, killed and started again on its port.

    Args:
        arguments: Codec and, if wanted, the picture from which on pictures are wider.
    """

    def __init__(self, *arguments: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.port}/live"

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [SYSTEM_PYTHON, str(Path(__file__).with_name("rtsp_server.py")), str(self.port)]
        self._process = subprocess.Popen([*command, *self._arguments], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def freeze(self) -> None:
        """It goes on existing, connections and all, and sends nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once. Twice is fine."""
        if self._process is not None:
            with self._process:
                self._process.kill()
            self._process = None


class Numbers:
    """A sink that reads the number which `rtsp_server.py` has drawn on top of each picture.

    Attributes:
        seen: The numbers, in the order of the results.
        flags: Flags of each frame.
    """

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.flags: list[tuple[str, ...]] = []

    def write(self, frame: Frame, found: sdk.Detections) -> None:
        blocks = frame.image[4:12, : 24 * 8].reshape(8, 24, 8)[:, :, 2:6].mean(axis=(0, 2)) > 120
        self.seen.append(int(sum(1 << bit for bit in np.flatnonzero(blocks).tolist())))
        self.flags.append(found.flags)

    def close(self) -> None:
        return


@pytest.fixture(scope="session")
def rtsp_possible() -> None:
    """Skips the test where the system has no RTSP server."""
    program = (
        "import gi; [gi.require_version(n, '1.0') for n in ('Gst', 'GstRtspServer')]; "
        "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
        "exit(' '.join(n for n in ('x264enc', 'jpegenc', 'rtph264pay', 'appsrc', 'videoconvert') "
        "if Gst.ElementFactory.find(n) is None) or 0)"
    )
    if not os.path.exists(SYSTEM_PYTHON):
        pytest.skip(f"no {SYSTEM_PYTHON} with GStreamer's RTSP server (Debian: apt install {RTSP_PACKAGES})")
    done = subprocess.run([SYSTEM_PYTHON, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        missing = done.stderr.strip().splitlines()[-1]
        pytest.skip(f"no RTSP server here: {missing} (Debian: apt install {RTSP_PACKAGES})")


@pytest.fixture
def rtsp_camera(rtsp_possible: None) -> Iterator[Callable[..., RtspCamera]]:
    """Makes and starts an `RtspCamera`."""
    made: list[RtspCamera] = []

    def make(*arguments: str) -> RtspCamera:
        made.append(RtspCamera(*arguments))
        made[-1].start()
        return made[-1]

    yield make
    for camera in made:
        camera.kill()
