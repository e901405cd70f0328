# SPDX-License-Identifier: Apache-2.0
"""A disk that is really full, in a namespace of its own, and an output that takes its time, through whole commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pitviper import sdk
from pitviper.sdk.cli import exits
from pitviper.sdk.sinks import JsonLines
from pitviper.sdk.sources import open_source

from .conftest import Script, adds_up, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

SCENE = "synthetic://?width=64&height=48&frames=400&seed=1"
# A disk of 64 KiB for this command alone; it is gone with the command, so what it holds is copied out.
DISK = """
mount -t tmpfs -o size=64k tmpfs "$1" || exit 99
disk="$1" kept="$2"
shift 2
"$@"
code=$?
cp -r "$disk"/. "$kept"
exit $code
"""
PROGRAM = "import sys; from pitviper.sdk.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("output", ["--json", "--record"])
def test_a_disk_that_runs_full_ends_the_command_and_keeps_what_was_written(
    tmp_path: Path, output: str
) -> None:
    disk, kept, stats = tmp_path / "disk", tmp_path / "kept", tmp_path / "stats.json"
    disk.mkdir()
    kept.mkdir()
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        DISK,
        "sh",
        str(disk),
        str(kept),
    ]
    command += [
        sys.executable,
        "-I",
        "-c",
        PROGRAM,
        "detect",
        SCENE,
        output,
        str(disk / "out"),
        "--stats",
        str(stats),
    ]
    try:
        done = subprocess.run(
            [*command, "--model", "pit-n", "--threads", "1"],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare on this system (util-linux)")
    if done.returncode == 99 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no disk can be mounted for one process here: {done.stderr.strip()}")
    assert done.returncode == exits.FAILURE, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    counts = json.loads(stats.read_text())
    assert counts["captured"] == counts["processed"] + sum(counts["dropped"].values())
    assert counts["dropped"]["failed"] == 1
    if output == "--json":
        rows = [json.loads(line) for line in (kept / "out").read_text().splitlines()]
        assert [row["frame_id"] for row in rows] == [*range(counts["processed"])]
    else:
        with open_source(f"replay://{kept / 'out'}") as source:
            assert 1 <= len(list(source)) <= counts["processed"] + 1


def test_a_slow_output_keeps_a_file_waiting_and_loses_nothing(detector: sdk.Detector) -> None:
    """A pipe whose reader takes a line when it is told to: writes really block."""
    read, write = os.pipe()
    lines: list[str] = []
    source = Script(range(60), live=False)

    def reader() -> None:
        with os.fdopen(read) as stream:
            for line in stream:
                lines.append(line)
                # The stream gets ahead by what fits into the pipe, and then has to wait.
                wait_until(lambda: source.given >= min(60, 2 * len(lines)), "two frames for a line")

    thread = threading.Thread(target=reader)
    thread.start()
    with (
        os.fdopen(write, "w") as pipe,
        detector.stream(source, mode="all", sinks=[JsonLines(pipe)]) as stream,
    ):
        ids = [found.frame_id for found in stream]
    thread.join()
    assert stream.state == "ended"
    assert ids == [*range(60)]
    assert [json.loads(line)["frame_id"] for line in lines] == ids
    assert adds_up(stream.stats, 60)
