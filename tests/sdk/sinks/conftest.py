# SPDX-License-Identifier: Apache-2.0
"""Frames and results for sinks, made by hand: no detector takes part. A broker."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pitviper.kernels import extract_targets
from pitviper.sdk import Detections
from pitviper.sdk.maps import ProbabilityMap
from pitviper.sdk.sources import Frame, FrameTime

Shot = tuple[Frame, Detections]


def make_shot(
    index: int, places: dict[tuple[int, int], int], shape: tuple[int, int] = (60, 80), name: str | None = None
) -> Shot:
    """A 14-bit frame with bright squares, {(row, column): side}, and exactly these as its result."""
    image = np.random.default_rng(index).normal(7000, 10, shape).astype(np.uint16)
    probability = np.zeros(shape, np.float32)
    for (row, column), side in places.items():
        image[row : row + side, column : column + side] = 9000
        probability[row : row + side, column : column + side] = 0.9
    found = Detections.from_targets(
        extract_targets(probability, image, 0.5),
        shape,
        frame_id=index,
        name=name,
        probability=ProbabilityMap(probability, 0.5),
    )
    return Frame(image, index, FrameTime(index * 40_000_000, 1, 2), name), found


@pytest.fixture
def shot() -> Callable[..., Shot]:
    return make_shot


@pytest.fixture
def shots() -> list[Shot]:
    """Twelve frames: targets of 1, 2 x 2, 3 x 3 and 9 x 9 pixels, and every third frame empty."""
    sides = (1, 2, 3, 9)
    return [
        make_shot(index, {} if index % 3 == 2 else {(20 + index, 30): sides[index % 4], (5, 60): 1})
        for index in range(12)
    ]


class Broker:
    """A real MQTT broker (Debian's mosquitto) on a free port of this machine.

    Its sessions survive a kill: what a subscriber with a session misses while it is away comes later.
    """

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = folder / "mosquitto.conf"
        settings = [
            f"listener {self.port} 127.0.0.1",
            *(lines or ["allow_anonymous true"]),
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "max_queued_messages 0",
        ]
        if os.geteuid() == 0:
            settings.append("user root")
        self._settings.write_text("\n".join(settings) + "\n")

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}/cam/1"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [mosquitto() or "", "-c", self._settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "mosquitto did not start"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.01)
        pytest.fail("mosquitto does not listen")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def mosquitto() -> str | None:
    """Where the broker is; Debian keeps it outside of an ordinary user's path."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    if mosquitto() is None:
        pytest.skip("no MQTT broker here: apt install mosquitto")
    made: list[Broker] = []

    def make(*lines: str) -> Broker:
        made.append(Broker(tmp_path, *lines))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()
