# SPDX-License-Identifier: Apache-2.0
"""RTP over UDP through a relay that loses, repeats, swaps and damages packets between a real server and the reader."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from pitviper import sdk
from pitviper.sdk.reconnect import open_reconnecting

from .conftest import Numbers, RtspCamera, adds_up, follow

pytestmark = pytest.mark.usefixtures("rtsp_possible", "nothing_left")

Fault = Callable[[int, bytes], list[bytes]]
STEP = 90_000 // 50
"""RTP's clock ticks between two pictures."""
_PORTS = re.compile(rb"client_port=(\d+)-(\d+)")


def udp_pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets on an even port and the next one, as RTP and RTCP want them."""
    while True:
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        sockets[0].bind(("127.0.0.1", 0))
        port = sockets[0].getsockname()[1]
        if port % 2 == 0:
            with suppress(OSError):
                sockets[1].bind(("127.0.0.1", port + 1))
                return sockets[0], sockets[1]
        for one in sockets:
            one.close()


class Relay:
    """Stands between one RTSP client and its server: passes the conversation on, and treats every RTP packet.

    Args:
        to: Port of the server.
        fault: Called with the sequence number and each packet of pictures; returns what is sent on.

    Attributes:
        packets: Packets of pictures that came.
        hit: RTP times of the pictures whose packets were not passed on unchanged, in their order.
    """

    def __init__(self, to: int, fault: Fault) -> None:
        self._to = to
        self._fault = fault
        self.packets = 0
        self.hit: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._udp = udp_pair()
        self._client = (0, 0)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._run(self._accept)
        for place in (0, 1):
            self._run(self._pass_packets, place)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"

    def _run(self, task: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=task, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                self._run(self._pass_words, client, server, True)
                self._run(self._pass_words, server, client, False)

    def _pass_words(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        """Requests and answers; the ports in them are changed so that packets come here."""
        own = self._udp[0].getsockname()[1]
        with suppress(OSError):
            while words := source.recv(1 << 16):
                named = _PORTS.search(words)
                if named and asks:
                    self._client = (int(named[1]), int(named[2]))
                ports = (own, own + 1) if asks else self._client
                target.sendall(_PORTS.sub(b"client_port=%d-%d" % ports, words))
            target.shutdown(socket.SHUT_RDWR)

    def _pass_packets(self, place: int) -> None:
        with suppress(OSError):
            # An empty packet is the word to stop.
            while packet := self._udp[place].recv(1 << 16):
                for one in [packet] if place else self._treated(packet):
                    self._udp[place].sendto(one, ("127.0.0.1", self._client[place]))

    def _treated(self, packet: bytes) -> list[bytes]:
        sequence, ticks = struct.unpack_from(">HI", packet, 2)
        self.packets += 1
        sent = self._fault(sequence, packet)
        if sent != [packet] and ticks not in self.hit:
            self.hit.append(ticks)
        return sent

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for one in self._udp:
            one.sendto(b"", one.getsockname())
        for thread in self._threads:
            thread.join()
        for one in (self._listener, *self._sockets, *self._udp):
            one.close()


@pytest.fixture
def make_relay() -> Iterator[Callable[..., Relay]]:
    made: list[Relay] = []

    def make(to: int, fault: Fault) -> Relay:
        made.append(Relay(to, fault))
        return made[-1]

    yield make
    for relay in made:
        relay.close()


def lose(sequence: int, packet: bytes) -> list[bytes]:
    """One packet of a hundred."""
    return [] if sequence % 100 == 57 else [packet]


class Shuffle:
    """Every 25th packet comes twice, every 20th after the one behind it."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def __call__(self, sequence: int, packet: bytes) -> list[bytes]:
        if sequence % 20 == 7:
            self._held.append(packet)
            return []
        held, self._held = self._held, []
        return [packet, *held, *([packet] if sequence % 25 == 3 else [])]


def damage(sequence: int, packet: bytes) -> list[bytes]:
    """One packet of a hundred has other bytes in its middle."""
    middle = len(packet) // 2
    return [packet[:middle] + b"\x5a" * 60 + packet[middle + 60 :]] if sequence % 100 == 57 else [packet]


def watched(detector: sdk.Detector, relay: Relay, count: int) -> tuple[Numbers, sdk.Stream]:
    """A stream over UDP of so many results, closed."""
    seen = Numbers()
    source = open_reconnecting(relay.url, timeout_s=20, options={"rtsp_transport": "udp"})
    with detector.stream(source, mode="all", timeout_s=20, sinks=[seen]) as stream:
        follow(stream, lambda found: stream.stats.processed >= count)
        assert stream.state == "live"
    assert stream.state == "closed"
    assert stream.stats.reconnects == 0
    assert adds_up(stream.stats, stream.stats.captured)
    assert set(stream.stats.dropped) <= {"closed"}
    return seen, stream


def test_pictures_that_lost_a_packet_are_missing_and_every_other_comes_once(
    detector: sdk.Detector, rtsp_camera: Callable[..., RtspCamera], make_relay: Callable[..., Relay]
) -> None:
    relay = make_relay(rtsp_camera("jpeg").port, lose)
    seen, _ = watched(detector, relay, 120)
    missing = sorted(set(range(seen.seen[0], seen.seen[-1])) - set(seen.seen))
    assert seen.seen == sorted(set(seen.seen))
    assert len(missing) >= 5
    # The relay counts from an RTP time of its own; the pattern of what it lost places it.
    lost = [(ticks - relay.hit[0]) // STEP for ticks in relay.hit]
    shifts = [missing[0] - number for number in lost]
    assert any(missing == [n + by for n in lost if seen.seen[0] < n + by < seen.seen[-1]] for by in shifts)
    late = [n for n, flags in zip(seen.seen, seen.flags, strict=True) if "time_gap" in flags]
    # The first steps of time tell how long a step is, so that a gap among them is not known as one.
    assert set(late) <= {n + 1 for n in missing}
    assert len(late) >= len(missing) - 2


def test_packets_that_come_twice_or_out_of_order_cost_nothing(
    detector: sdk.Detector, rtsp_camera: Callable[..., RtspCamera], make_relay: Callable[..., Relay]
) -> None:
    relay = make_relay(rtsp_camera("jpeg").port, Shuffle())
    seen, stream = watched(detector, relay, 60)
    assert seen.seen == [*range(seen.seen[0], seen.seen[0] + len(seen.seen))]
    assert len(relay.hit) >= 10
    assert not {"out_of_order", "time_late", "time_repeated", "corrupt"} & set(stream.stats.flagged)


@pytest.mark.parametrize("fault", [lose, damage], ids=["lost", "damaged"])
def test_damaged_pictures_of_h264_are_flagged_and_the_stream_goes_on(
    detector: sdk.Detector,
    rtsp_camera: Callable[..., RtspCamera],
    make_relay: Callable[..., Relay],
    fault: Fault,
) -> None:
    relay = make_relay(rtsp_camera("h264").port, fault)
    seen, stream = watched(detector, relay, 60)
    assert len(relay.hit) >= 3
    assert 1 <= stream.stats.flagged["corrupt"] <= 45
    times = [n for n, flags in zip(seen.seen, seen.flags, strict=True) if "corrupt" not in flags]
    assert len(times) >= 15
