# SPDX-License-Identifier: Apache-2.0
"""`Mqtt`: results to a broker, one JSON message each, with a queue that never keeps a stream waiting."""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.arguments import require_whole
from pitviper.sdk.errors import InputError, SinkError
from pitviper.sdk.sinks.counts import OutputCounts, OutputStats
from pitviper.sdk.sinks.mqtt_address import MqttAddress
from pitviper.sdk.sinks.mqtt_client import make_client
from pitviper.sdk.wakeup import Wakeup

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["Mqtt"]

_LOG = logging.getLogger("pitviper.sinks")
_INFLIGHT: Final = 20
"""Messages that are handed to the client at once; the others wait here, where they are counted."""
_SLICE_S: Final = 0.5
_KEEPALIVE_S: Final = 15
_FAREWELL_S: Final = 1.0
# A broker that says this will be back; any other refusal stays until somebody changes something.
_PASSING: Final = ("Server unavailable", "Server busy")


class Mqtt:
    """Sends each result as `Detections.to_json` to a topic; ``TOPIC/availability`` says ``online`` or ``offline``.

    `write` never waits: what cannot be sent waits in a queue, whose oldest is dropped and counted when it is full
    (``offline`` without a connection, ``slow`` with one). A lost connection is opened again in the background, after
    1 to 30 seconds, for as long as it takes. The availability is retained; the broker itself sets it to ``offline``
    when this program vanishes (its last will).

    A broker that cannot be reached at first is tried again in the background, with a warning; one that answers and
    refuses (credentials, certificate) is an error at once.

    Args:
        url: ``mqtt://user:password@host:port/topic``, or ``mqtts://`` for TLS. Messages and logs hold no credentials.
        qos: 0 (a message counts as written when the system has taken it), 1 or 2 (when the broker has acknowledged
            it; after a lost connection it is sent again, with 1 perhaps twice).
        queue: Results that may wait.
        password: Instead of one in ``url``.
        ca: File with the certificates that the broker's must be signed by; None takes those of the system.
        wait_s: Longest wait for the broker's first answer.
        close_s: How long `close` may go on sending; what is left then is counted as ``closed``.

    Attributes:
        name: ``mqtt``.
        address: Broker and topic.

    Raises:
        InputError: ``url`` is no such address, or a number is out of range.
        SinkError: The broker refuses. MissingExtra: paho-mqtt is not installed.
    """

    when_slow: Final = "own"
    name: Final = "mqtt"

    def __init__(
        self,
        url: str,
        *,
        qos: int = 0,
        queue: int = 256,
        password: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        wait_s: float = 5.0,
        close_s: float = 5.0,
    ) -> None:
        self.address = MqttAddress.parse(url, password=password)
        if qos not in (0, 1, 2):
            raise InputError(f"qos must be 0, 1 or 2, got {qos!r}")
        require_whole("queue", queue, least=1, note=" (messages)")
        if ca is not None and not self.address.tls:
            raise InputError(f"ca belongs to mqtts://; {self.address} is not encrypted")
        self._qos, self._limit, self._close_s = qos, queue, close_s
        self._lock = threading.Lock()
        self._pending: deque[bytes] = deque()
        self._counts = OutputCounts()
        self._inflight: dict[int, tuple[Any, bytes]] = {}
        self._events: deque[tuple[str, Any]] = deque()
        self._wakeup, self._answered, self._ended = Wakeup(), Wakeup(), Wakeup()
        self._connected = self._closed = self._finished = self._told = False
        self._connections = 0
        self._refusal: str | None = None
        self._deadline: float | None = None
        self._client, self._lost_code = make_client(self.address, ca, self._note)
        self._thread = threading.Thread(target=self._run, name="pitviper-mqtt", daemon=True)
        self._client.connect_async(self.address.host, self.address.port, _KEEPALIVE_S)
        self._client.loop_start()
        self._thread.start()
        self._answered.wait(wait_s)
        if self._refusal is not None:
            self.close()
            raise SinkError(f"{self.address}: {self._refusal}")
        if self._connections == 0 and not self._told:
            _LOG.warning("%s: no answer within %g s; trying on in the background", self.address, wait_s)

    def _note(self, kind: str, value: Any) -> None:
        self._events.append((kind, value))
        self._wakeup.set()

    @property
    def stats(self) -> OutputStats:
        """Counts and connection up to now."""
        again = max(0, self._connections - 1)
        return self._counts.stats(connected=self._connected, reconnects=again)

    def write(self, frame: Frame, detections: Detections) -> None:
        """Queue the result; returns at once. Raises SinkError only when closed."""
        if self._closed:
            raise SinkError(f"{self.address}: already closed; open a new sink")
        message = detections.to_json().encode()
        with self._lock:
            self._counts.give()
            self._pending.append(message)
            self._trim()
        self._wakeup.set()

    def _trim(self) -> None:
        """Drop the oldest beyond the limit; the lock is held."""
        while len(self._pending) > self._limit:
            self._pending.popleft()
            self._counts.drop("slow" if self._connected else "offline")

    def _run(self) -> None:
        """Our thread, which alone talks to the client."""
        try:
            while True:
                while self._events:
                    self._hear(*self._events.popleft())
                if self._connected:
                    self._send()
                if self._deadline is not None and self._done():
                    return
                self._wakeup.wait(_SLICE_S)
        finally:
            self._leave()

    def _done(self) -> bool:
        assert self._deadline is not None
        idle = not self._inflight and not self._pending
        # Nothing is waited for that has no connection to go through.
        return idle or not self._connected or time.monotonic() >= self._deadline

    def _hear(self, kind: str, value: Any) -> None:
        if kind == "published":
            if self._inflight.pop(value, None) is not None:
                self._counts.write()
            return
        if kind == "connect" and not value.is_failure:
            self._welcome()
        elif kind == "connect":
            self._refuse(
                f"the broker refuses the connection ({value}); check user, password and its rules", value
            )
        elif kind == "unreachable":
            self._fail(value)
        elif self._connected:
            self._connected = False
            _LOG.warning("%s: connection lost (%s); opening it again", self.address, value)
        self._take_back_lost()
        if kind != "lost":
            self._answered.set()

    def _welcome(self) -> None:
        self._connected, self._told = True, False
        self._connections += 1
        self._client.publish(self.address.availability, "online", qos=1, retain=True)
        lost = sum(self.stats.dropped.values())
        again = f" again; {lost} results were dropped up to now" if self._connections > 1 else ""
        _LOG.info("%s: connected%s", self.address, again)

    def _fail(self, error: BaseException | None) -> None:
        if isinstance(error, ssl.SSLError):
            self._refuse(f"TLS failed ({error}); pass the broker's certificate authority as ca", None)
        elif not self._told:
            self._told = True
            _LOG.warning("%s: cannot be reached (%s); trying on in the background", self.address, error)

    def _refuse(self, text: str, reason: Any) -> None:
        if self._connections == 0 and str(reason) not in _PASSING:
            self._refusal = text
        elif not self._told:
            _LOG.error("%s: %s; trying on in the background", self.address, text)
        self._told = True

    def _take_back_lost(self) -> None:
        """Messages of QoS 0 that a new connection found unsent go to the front of the queue again."""
        lost = [mid for mid, (info, _) in self._inflight.items() if info.rc == self._lost_code]
        if lost:
            with self._lock:
                self._pending.extendleft(self._inflight.pop(mid)[1] for mid in reversed(lost))
                self._trim()

    def _send(self) -> None:
        while self._pending and len(self._inflight) < _INFLIGHT:
            with self._lock:
                message = self._pending.popleft()
            info = self._client.publish(self.address.topic, message, qos=self._qos)
            if self._qos == 0 and info.rc != 0:
                # No connection, which we are about to hear of. (With a QoS the client keeps it, and sends it later.)
                with self._lock:
                    self._pending.appendleft(message)
                    self._trim()
                return
            self._inflight[info.mid] = (info, message)

    def close(self) -> None:
        """Send what waits, say ``offline`` and disconnect, in bounded time. Twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._deadline = time.monotonic() + self._close_s
        self._wakeup.set()
        limit = self._deadline + _FAREWELL_S + 2 * _SLICE_S
        while not self._finished and time.monotonic() < limit:
            self._ended.wait(_SLICE_S)
        # Joins the client's thread, which may hang in the resolver for longer than anybody wants to wait.
        stopper = threading.Thread(target=self._client.loop_stop, name="pitviper-mqtt-stop", daemon=True)
        stopper.start()
        stopper.join(_FAREWELL_S)

    def _leave(self) -> None:
        left = self._counts.stats().waiting
        self._counts.drop("closed", left)
        if left:
            _LOG.warning("%s: closed with %d results that were not sent", self.address, left)
        if self._connected:
            info = self._client.publish(self.address.availability, "offline", qos=1, retain=True)
            deadline = time.monotonic() + _FAREWELL_S
            while not self._heard_of(info.mid) and time.monotonic() < deadline:
                self._wakeup.wait(_SLICE_S)
        self._client.disconnect()
        self._connected = False
        self._finished = True
        self._ended.set()

    def _heard_of(self, mid: int) -> bool:
        while self._events:
            if self._events.popleft() == ("published", mid):
                return True
        return False
