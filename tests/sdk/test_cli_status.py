# SPDX-License-Identifier: Apache-2.0
"""The line that a terminal shows of a live stream: what is in it, where it appears and where it does not."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest

from pitviper import sdk
from pitviper.sdk.cli.status import StatusLine, status_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Stream:
    """What the line looks at."""

    state = "reconnecting"
    stats = sdk.StreamStats(40, 30, {"newer": 9, "unreadable": 1}, 0, 2.0, reconnects=2)


def shown(output: Any, colour: bool = True) -> str:
    with StatusLine(Stream(), output=output, colour=colour) as line:  # type: ignore[arg-type]
        line.step(3)
        deadline = time.monotonic() + 60
        # No frame comes meanwhile: the line shows the state all the same.
        while isinstance(output, Terminal) and "reconnecting" not in output.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    return str(output.getvalue())


def test_a_terminal_shows_the_state_although_no_frame_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = shown(Terminal())
    first = text.split("\r")[1]
    assert first.startswith("\x1b[33mreconnecting\x1b[0m")
    for word in ("3 targets", "9 dropped", "1 unreadable", "reconnected 2x"):
        assert word in first
    assert len(re.sub("\x1b\\[\\d+m", "", first)) == 99
    assert text.endswith("\r" + " " * 99 + "\r"), "the line is wiped out at the end"


def test_without_colour() -> None:
    assert "\x1b" not in shown(Terminal(), colour=False)


def test_a_pipe_shows_nothing() -> None:
    assert shown(io.StringIO()) == ""


def test_a_narrow_terminal_cuts_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    line = shown(Terminal(), colour=False).split("\r")[1]
    assert line == "reconnecting  0.0 i"


def test_the_line() -> None:
    text = status_text(
        "live", (29.96, 12.04), age_ms=(31.4, 58.6), dropped=0, lost=0, reconnects=0, targets=1
    )
    assert text == "live  30.0 in, 12.0 out/s  age 31 ms (p99 59)  1 targets"
