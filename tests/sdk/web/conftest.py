# SPDX-License-Identifier: Apache-2.0
"""``pitviper serve`` as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCENE = "synthetic://terrain?width=160&height=128&frames=90&seed=4&targets=4&snr=15,25&fps=20"
_PROGRAM = "import sys; from pitviper.sdk.cli import main; sys.exit(main())"


class Server:
    """``pitviper serve`` as a process of its own, which can be started again on the same port.

    Args:
        folder: Recordings go to ``kept`` in it.
        more: Further arguments.
        source: What is shown, again and again.
    """

    def __init__(self, folder: Path, *more: str, source: str = SCENE) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [
            sys.executable,
            "-c",
            _PROGRAM,
            "serve",
            source,
            "--loop",
            "--model",
            "pit-n",
        ]
        self.command += [
            "--threads",
            "1",
            "--port",
            str(self.port),
            "--record-dir",
            str(folder / "kept"),
            *more,
        ]
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True, env=env)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert self.url in line, (
            f"{line}{self.process.stderr.read() if self.process.poll() is not None else ''}"
        )

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        return self.process.returncode


@pytest.fixture(scope="module")
def serve() -> Callable[..., Server]:
    """Makes a `Server`; the test starts and stops it."""
    return Server
