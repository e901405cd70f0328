# SPDX-License-Identifier: Apache-2.0
"""``pitviper detect --mqtt`` and ``--metrics``: delivered, redacted, refused with the right exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pitviper.sdk.cli import exits, main

for _module in ("paho.mqtt.client", "prometheus_client"):
    pytest.importorskip(_module, reason="the extras mqtt and metrics are not installed")

FAST = ["--model", "pit-n", "--threads", "1"]
SCENE = "synthetic://?width=64&height=48&frames=6&seed=1"
PROGRAM = "import sys; from pitviper.sdk.cli import main; sys.exit(main(sys.argv[1:]))"


class Inbox:
    """What comes to a broker."""

    def __init__(self, port: int) -> None:
        from paho.mqtt import client as paho

        self.messages: list[tuple[str, bytes]] = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _client, _data, message: self.messages.append(
            (message.topic, message.payload)
        )
        self.subscribed: list[Any] = []
        self.client.on_subscribe = lambda *rest: self.subscribed.append(rest)
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#", qos=2)
        self.client.loop_start()
        self.wait(lambda: self.subscribed)

    def wait(self, condition: Any) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.01)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_messages_are_the_json_lines(
    make_broker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = make_broker()
    broker.start()
    inbox = Inbox(broker.port)
    # Anonymous users are let in, so any name and password will do.
    monkeypatch.setenv("PITVIPER_MQTT_PASSWORD", "hush")
    url = broker.url.replace("//", "//camera@")
    try:
        code = main(
            ["detect", SCENE, "--json", str(tmp_path / "out"), "--mqtt", url, "--mqtt-qos", "1", *FAST]
        )
        assert code == 0
        inbox.wait(lambda: ("cam/1/availability", b"offline") in inbox.messages)
    finally:
        inbox.close()
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [json.loads(text) for topic, text in inbox.messages if topic == "cam/1"] == lines
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "6 frames" in captured.err
    assert "hush" not in captured.err


def test_with_a_broker_alone_nothing_goes_to_stdout(
    make_broker: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broker = make_broker()
    broker.start()
    stats = tmp_path / "stats.json"
    assert main(["detect", SCENE, "--mqtt", broker.url, "--stats", str(stats), *FAST]) == 0
    assert capsys.readouterr().out == ""
    told = json.loads(stats.read_text())["outputs"]["mqtt"]
    assert (told["given"], told["written"], told["dropped"]) == (6, 6, {})


def test_what_is_lost_is_told(make_broker: Any, capsys: pytest.CaptureFixture[str]) -> None:
    broker = make_broker()
    assert main(["detect", SCENE, "--mqtt", broker.url, *FAST]) == 0
    assert "mqtt: 0 of 6 results written; lost: 6 closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mqtt", "http://host/topic"], "MQTT address"),
        (["--mqtt-qos", "1"], "belong to --mqtt"),
        (["--mqtt-ca", "F"], "belong to --mqtt"),
        (["--metrics", "here"], "PORT or HOST:PORT"),
        (["--metrics", "70000"], "PORT or HOST:PORT"),
        (["--metrics", "no-such-host.invalid:0"], "cannot listen on"),
        (["--metrics", "0", "--mqtt", "mqtt://host"], "MQTT topic"),
    ],
)
def test_wrong_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["detect", SCENE, "--json", str(out), *arguments, *FAST]) == exits.USAGE
    assert message in capsys.readouterr().err


def test_metrics_of_a_stream_that_runs(tmp_path: Path) -> None:
    endless = SCENE.replace("frames=6", "frames=none")
    command = [sys.executable, "-I", "-c", PROGRAM, "detect", endless, "--json", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--metrics", "0", *FAST],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,  # away from the checkout, whose package has no compiled module
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        address = process.stderr.readline().strip().rpartition(" ")[2]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", address)
        deadline, counted = time.monotonic() + 60, 0
        while counted < 5:
            assert time.monotonic() < deadline
            with urllib.request.urlopen(address, timeout=60) as answer:
                page = answer.read().decode()
            found = re.search(r'^pitviper_frames_total\{outcome="processed"\} (\d+)', page, re.MULTILINE)
            counted = int(found.group(1)) if found else 0
        assert 'model="pit-n"' in page
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == exits.INTERRUPTED
    assert "Traceback" not in errors
