# SPDX-License-Identifier: Apache-2.0
"""Commands with a page as processes of their own, and a browser to look at it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCENE = "synthetic://terrain?width=160&height=128&frames=90&seed=4&targets=4&snr=15,25&fps=20"
CHROMIUM_ARGUMENTS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")  # fmt: skip
LIMIT_MS = 120_000
_PROGRAM = "import sys; from pitviper.sdk.cli import main; sys.exit(main())"


class Server:
    """A command with a page as a process of its own, which can be started again on the same port.

    Args:
        words: Its arguments, without ``--port``.
    """

    def __init__(self, *words: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [sys.executable, "-I", "-c", _PROGRAM, *words, "--port", str(self.port)]
        self.process: subprocess.Popen[str] | None = None
        self.said = self.written = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        assert self.process.stderr is not None
        self.said = ""
        while self.url not in self.said:
            line = self.process.stderr.readline()
            assert line, f"it ended: {self.said}"
            self.said += line

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.written, errors = self.process.communicate(timeout=60)
        self.said += errors
        assert "Traceback" not in errors, errors
        return self.process.returncode


@pytest.fixture(scope="module")
def serve() -> Callable[..., Server]:
    """Makes a ``pitviper serve`` that records into ``kept`` in a folder; the test starts and stops it."""

    def make(folder: Path, *more: str, source: str = SCENE) -> Server:
        detector = ("--loop", "--model", "pit-n", "--threads", "1")
        return Server("serve", source, *detector, "--record-dir", str(folder / "kept"), *more)

    return make


@pytest.fixture(scope="module")
def label() -> Callable[..., Server]:
    """Makes a ``pitviper label``; the test starts and stops it."""
    return lambda source, out, *more: Server("label", str(source), "--out", str(out), *more)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    # It comes without a browser; the system's is used.
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        sandbox = () if os.getuid() else ("--no-sandbox",)  # Chromium has no sandbox for root
        made = started.chromium.launch(
            executable_path=chromium, args=[*CHROMIUM_ARGUMENTS, *sandbox], timeout=LIMIT_MS
        )
        yield made
        made.close()


@pytest.fixture
def watched(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages; at the end of the test none has raised an error or asked anyone but its server for anything."""
    opened: list[tuple[Any, str, list[str], list[str]]] = []

    def open_page(url: str, **settings: Any) -> Any:
        made = browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **settings})
        made.set_default_timeout(LIMIT_MS)
        requested: list[str] = []
        broken: list[str] = []
        made.on("request", lambda request: requested.append(request.url))
        made.on("pageerror", lambda error: broken.append(str(error)))
        opened.append((made, url, requested, broken))
        made.goto(url)
        return made

    yield open_page
    for made, url, requested, broken in opened:
        assert broken == []
        assert [each for each in requested if not each.startswith((url.partition("#")[0], "data:"))] == []
        made.close()


@pytest.fixture(scope="session")
def until() -> Callable[[Any, str], None]:
    """Waits for a condition in a page. Playwright's own wait evaluates a string, which the page's policy forbids."""

    def wait(page: Any, condition: str) -> None:
        deadline = time.monotonic() + LIMIT_MS / 1000
        while not page.evaluate(condition):
            assert time.monotonic() < deadline, condition
            page.wait_for_timeout(50)

    return wait


@pytest.fixture(scope="session")
def at() -> Callable[[Any, int, int], tuple[float, float]]:
    """Where on the screen the middle of a pixel (row, column) of the frame is, on the page for labels."""

    def place(page: Any, row: int, column: int) -> tuple[float, float]:
        box = page.locator("#frame").bounding_box()
        assert box is not None
        told = page.evaluate("({...document.getElementById('frame').dataset})")
        scale = float(told["scale"])
        x = box["x"] + float(told["left"]) + (column + 0.5) * scale
        return x, box["y"] + float(told["top"]) + (row + 0.5) * scale

    return place
