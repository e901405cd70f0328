# SPDX-License-Identifier: Apache-2.0
"""Results to a real broker: delivered, counted over its death, refused with the reason, closed in bounded time."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitviper import sdk
from pitviper.sdk.sinks import Mqtt, OutputStats
from pitviper.sdk.sinks.mqtt_address import MqttAddress

paho = pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")

SECRET = "s3cret/p@ss"
URL_SECRET = "s3cret%2Fp%40ss"


def reached(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


class Listener:
    """Subscribes to everything below ``cam``, in a session that outlives connections and the broker."""

    def __init__(self, port: int, name: str) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self.ready = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self.client.on_connect = lambda client, *rest: client.subscribe("cam/#", qos=2)
        self.client.on_subscribe = lambda *rest: self.ready.set()
        self.client.on_message = lambda client, data, message: self.messages.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(60)

    def ids(self) -> list[int]:
        return [json.loads(text)["frame_id"] for topic, text, _ in self.messages if topic == "cam/1"]

    def availability(self) -> list[str]:
        return [text for topic, text, _ in self.messages if topic == "cam/1/availability"]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(port: int, name: str = "listener") -> Listener:
        made.append(Listener(port, name))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def numbered(shot: Callable[..., Any]) -> Callable[[range], Iterator[Any]]:
    """Frames with these numbers and one target each."""
    frame, found = shot(0, {(20, 30): 3})

    def make(numbers: range) -> Iterator[Any]:
        return ((frame, dataclasses.replace(found, frame_id=number)) for number in numbers)

    return make


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_result_is_one_message_in_the_schema_of_json_lines(
    make_broker: Any, listen: Any, shots: list[Any], qos: int
) -> None:
    broker = make_broker()
    broker.start()
    listener = listen(broker.port)
    sink = Mqtt(broker.url, qos=qos)
    assert sink.stats.connected
    for shot in shots:
        sink.write(*shot)
    sink.close()
    sink.close()
    assert sink.stats == OutputStats(12, 12, connected=False)
    # The listener has a QoS 2 message only after two more packets, which the availability needs not wait for.
    reached(lambda: len(listener.messages) == 14, "the last message")
    assert listener.availability() == ["online", "offline"]
    texts = [text for topic, text, _ in listener.messages if topic == "cam/1"]
    assert [json.loads(text) for text in texts] == [json.loads(found.to_json()) for _, found in shots]
    with pytest.raises(sdk.SinkError, match="already closed"):
        sink.write(*shots[0])


def test_availability_is_retained_and_a_vanished_program_is_offline(make_broker: Any, listen: Any) -> None:
    broker = make_broker()
    broker.start()
    code = (
        "import os, sys\nfrom pitviper.sdk.sinks import Mqtt\nsink = Mqtt(sys.argv[1])\n"
        "print(sink.stats.connected, flush=True)\nsys.stdin.read()\nos._exit(9)"
    )
    program = subprocess.Popen(
        [sys.executable, "-I", "-c", code, broker.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "True\n"
    listener = listen(broker.port)
    reached(lambda: listener.availability() == ["online"], "the message")
    late = listen(broker.port, "late")
    reached(lambda: late.messages == [("cam/1/availability", "online", True)], "the retained message")
    program.communicate("")
    assert program.returncode == 9
    reached(lambda: late.availability() == ["online", "offline"], "the last will")


def test_a_broker_that_dies_and_comes_back(
    make_broker: Any, listen: Any, numbered: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    broker.start()
    listener = listen(broker.port)
    sink = Mqtt(broker.url, qos=1, queue=100)
    for shot in numbered(range(30)):
        sink.write(*shot)
    reached(lambda: sink.stats.written == 30, "the acknowledgements")
    # The session of the listener must be on the broker's disk before the broker is killed.
    reached(lambda: len(listener.ids()) == 30, "the messages")
    with caplog.at_level(logging.INFO, "pitviper.sinks"):
        broker.kill()
        reached(lambda: not sink.stats.connected, "the loss")
        for shot in numbered(range(30, 280)):
            sink.write(*shot)
        assert sink.stats == OutputStats(280, 30, {"offline": 150}, waiting=100, connected=False)
        broker.start()
        reached(lambda: sink.stats.written == 130, "the rest")
    sink.close()
    assert sink.stats == OutputStats(280, 130, {"offline": 150}, connected=False, reconnects=1)
    reached(lambda: len(set(listener.ids())) == 130, "the messages")
    # With QoS 1 a message may come twice.
    assert list(dict.fromkeys(listener.ids())) == [*range(30), *range(180, 280)]
    assert "connection lost" in caplog.text
    assert "150 results were dropped up to now" in caplog.text


@pytest.mark.parametrize("qos", [0, 1])
def test_counts_are_exact_when_the_broker_is_killed_under_load(
    make_broker: Any, numbered: Any, qos: int
) -> None:
    broker = make_broker()
    broker.start()
    sink = Mqtt(broker.url, qos=qos, queue=50, close_s=20)
    stop, sent = threading.Event(), [0]

    def load() -> None:
        for shot in numbered(range(100_000)):
            if stop.is_set():
                return
            sink.write(*shot)
            sent[0] += 1
            stop.wait(0.0005)

    writer = threading.Thread(target=load)
    writer.start()
    for _ in range(2):
        before = sink.stats.written
        reached(lambda before=before: sink.stats.written > before + 20, "messages to flow")
        broker.kill()
        reached(lambda: not sink.stats.connected, "the loss")
        # What the client holds is bounded, and so is the queue.
        assert sink.stats.waiting <= 50 + 20 + 1
        broker.start()
        reached(lambda: sink.stats.connected, "the connection")
    stop.set()
    writer.join()
    sink.close()
    stats = sink.stats
    assert stats.given == sent[0] == stats.written + sum(stats.dropped.values())
    assert (stats.waiting, stats.reconnects) == (0, 2)


def test_a_broker_that_comes_later(
    make_broker: Any, shots: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    with caplog.at_level(logging.WARNING, "pitviper.sinks"):
        sink = Mqtt(broker.url)
    assert f"mqtt://127.0.0.1:{broker.port}/cam/1: cannot be reached" in caplog.text
    assert "refused" in caplog.text, "with the reason of the system"
    for shot in shots:
        sink.write(*shot)
    broker.start()
    reached(lambda: sink.stats.written == 12, "the messages")
    sink.close()
    assert sink.stats == OutputStats(12, 12, connected=False)


def test_bad_credentials_are_told_at_once_and_never_shown(
    make_broker: Any, tmp_path: Path, shots: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("no mosquitto_passwd here: apt install mosquitto")
    users = tmp_path / "users"
    subprocess.run([tool, "-b", "-c", users, "camera", SECRET], check=True, capture_output=True)
    broker = make_broker("allow_anonymous false", f"password_file {users}")
    broker.start()
    place = f"127.0.0.1:{broker.port}/cam/1"
    with caplog.at_level(logging.DEBUG):
        for user in ("", "camera:wrong-password@"):
            with pytest.raises(sdk.SinkError, match="refuses the connection") as caught:
                Mqtt(f"mqtt://{user}{place}")
            assert str(caught.value).startswith(f"mqtt://{place}: ")
        sink = Mqtt(f"mqtt://camera:{URL_SECRET}@{place}")
        assert sink.stats.connected
        sink.write(*shots[0])
        sink.close()
        other = Mqtt(f"mqtt://camera@{place}", password=SECRET)
        other.close()
    assert sink.stats.written == 1
    shown = caplog.text + repr(sink.address) + str(sink.address)
    assert not [text for text in (SECRET, URL_SECRET, "wrong-password") if text in shown]


def test_tls_checks_the_certificate(make_broker: Any, tmp_path: Path, shots: list[Any]) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make certificates with: apt install openssl")
    key, ca, empty = tmp_path / "key.pem", tmp_path / "ca.pem", tmp_path / "empty.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    make += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", key, "-out", ca], check=True, capture_output=True)
    broker = make_broker("allow_anonymous true", f"certfile {ca}", f"keyfile {key}")
    broker.start()
    url = broker.url.replace("mqtt:", "mqtts:")
    with pytest.raises(sdk.SinkError, match=r"TLS failed .*CERTIFICATE_VERIFY_FAILED.*pass the broker's"):
        Mqtt(url)
    empty.write_text("")
    for wrong in (empty, tmp_path / "missing.pem"):
        with pytest.raises(sdk.SinkError, match=r"the certificates in .* cannot be read"):
            Mqtt(url, ca=wrong)
    sink = Mqtt(url, ca=ca)
    sink.write(*shots[0])
    sink.close()
    assert sink.stats == OutputStats(1, 1, connected=False)


def test_a_broker_that_stands_still_keeps_neither_the_stream_nor_the_end_waiting(
    make_broker: Any, numbered: Any
) -> None:
    broker = make_broker()
    broker.start()
    sink = Mqtt(broker.url, qos=1, queue=10, close_s=0.2)
    broker.signal(signal.SIGSTOP)
    shots, counted = itertools.cycle(numbered(range(10))), itertools.count(1)

    def full() -> bool:
        sink.write(*next(shots))
        next(counted)
        return sink.stats.waiting == 30

    # However fast results come, the client's share of them is taken by a thread when it gets its turn.
    reached(full, "as many as the client takes, and a full queue")
    for _ in range(100):
        full()
    written = next(counted) - 1
    assert sink.stats.dropped == {"slow": written - 30}
    done = threading.Thread(target=sink.close)
    done.start()
    done.join(30)
    assert not done.is_alive(), "closing waits 0.2 s, and a few seconds more for the client's thread"
    broker.signal(signal.SIGCONT)
    assert sink.stats == OutputStats(written, 0, {"slow": written - 30, "closed": 30}, connected=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://host/topic",
        "mqtt://host",
        "mqtt://host/",
        "mqtt:///topic",
        "mqtt://host/a/#",
        "mqtt://host/a/+/b",
        "mqtt://host/a%00b",
        "mqtt://host:70000/topic",
        "mqtt://host:0/topic",
        "mqtt://user:pass?word@host/topic",
        "mqtt://:secret@host/topic",
        "mqtt://[::1/topic",
        f"mqtt://host/{'x' * 70_000}",
        f"mqtt://{'x' * 64}/topic",
        "mqtt://host/\udcff",
        "mqtt://\udcff@host/topic",
        "host/topic",
        "",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(sdk.InputError, match="MQTT") as caught:
        Mqtt(url)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.text(alphabet=st.sampled_from("mqtts:/@%+#?[]0a5f.\udcff\0é"), max_size=40), st.text() | st.none())
def test_no_other_error_comes_from_an_address(rest: str, password: str | None) -> None:
    for url in (rest, f"mqtt://{rest}", f"mqtts://user:secret@{rest}"):
        try:
            address = MqttAddress.parse(url, password=password)
        except sdk.InputError as error:
            shown = str(error)
        else:
            shown = f"{address} {address!r}"
            assert address.topic
            assert f"{address.host}{address.topic}{address.user}{address.password}".encode()
        assert "secret" not in shown


def test_other_arguments_are_refused() -> None:
    with pytest.raises(sdk.InputError, match="qos must be 0, 1 or 2"):
        Mqtt("mqtt://host/topic", qos=3)
    with pytest.raises(sdk.InputError, match="ca belongs to mqtts://"):
        Mqtt("mqtt://host/topic", ca="ca.pem")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(sdk.MissingExtra, match=r"pitviper\[mqtt\]"):
        Mqtt("mqtt://host/topic")
