# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM on the command line: none is lost, and a stream is drained."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from pitviper.sdk.cli import exits, main, signals
from pitviper.sdk.cli.progress import ProgressLine

BOTH = [(signal.SIGINT, exits.INTERRUPTED), (signal.SIGTERM, exits.TERMINATED)]


def send(number: int) -> None:
    """Send this process a signal; the handler has run when the function returns or raises."""
    os.kill(os.getpid(), number)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """The exit code of a command line whose subcommand runs a function."""

    def run(body: Callable[[], object]) -> int:
        def subcommand(_: Any) -> int:
            body()
            return exits.OK

        monkeypatch.setattr("pitviper.sdk.cli.models.run", subcommand)
        return main(["models", "list"])

    return run


def swallowed(number: int) -> None:
    """What the import of a Cython module does to a KeyboardInterrupt at the wrong moment."""
    with pytest.raises(KeyboardInterrupt):
        send(number)


@pytest.mark.parametrize(("number", "code"), BOTH)
def test_a_command_is_interrupted(command: Any, number: int, code: int, capsys: Any) -> None:
    before = signal.getsignal(number)
    assert command(lambda: send(number)) == code
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "code"), BOTH)
def test_a_signal_that_was_swallowed_is_noticed_in_the_next_step(
    command: Any, number: int, code: int
) -> None:
    reached = []

    def body() -> None:
        swallowed(number)
        with ProgressLine(None) as progress:
            progress.step()
            reached.append("a second step")

    assert command(body) == code
    assert reached == []


def test_an_import_that_broke_off_is_an_interrupt_and_no_bug(command: Any) -> None:
    def body() -> None:
        swallowed(signal.SIGINT)
        raise ImportError("PyCapsule_Import could not import a module")

    assert command(body) == exits.INTERRUPTED


def test_without_a_signal_an_error_stays_an_error(command: Any) -> None:
    def body() -> None:
        raise ImportError("no such module")

    with pytest.raises(ImportError, match="no such module"):
        command(body)


def test_the_first_signal_drains_and_the_second_stops_at_once(command: Any) -> None:
    seen: list[str] = []

    def body() -> None:
        with signals.draining(lambda: seen.append("drain")):
            send(signal.SIGTERM)
            signals.check()
            seen.append("the captured frames are processed")
            send(signal.SIGTERM)
            seen.append("never reached")

    assert command(body) == exits.TERMINATED
    assert seen == ["drain", "the captured frames are processed"]


def test_a_drained_command_was_interrupted_all_the_same(command: Any) -> None:
    def body() -> None:
        with signals.draining(lambda: None):
            send(signal.SIGINT)

    assert command(body) == exits.INTERRUPTED


def test_a_signal_that_was_swallowed_before_the_stream_ends_it_before_its_first_frame(command: Any) -> None:
    seen: list[str] = []

    def body() -> None:
        swallowed(signal.SIGINT)
        with signals.draining(lambda: seen.append("drain")):
            seen.append("a frame")

    assert command(body) == exits.INTERRUPTED
    assert seen == []


def test_a_signal_that_the_parent_ignores_stays_ignored(command: Any) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert command(lambda: send(signal.SIGINT)) == exits.OK
    finally:
        signal.signal(signal.SIGINT, before)
