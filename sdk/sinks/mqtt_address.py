# SPDX-License-Identifier: Apache-2.0
"""Where MQTT messages go: ``mqtt://user:password@host:port/topic``, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from pitviper.sdk.errors import InputError

__all__ = ["MqttAddress"]

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_LONGEST_BYTES: Final = 16384
_FORM: Final = "mqtt://USER:PASSWORD@HOST:PORT/TOPIC, or mqtts:// for TLS"


@dataclass(frozen=True)
class MqttAddress:
    """A broker and a topic. Its text and its ``repr`` hold no credentials.

    Attributes:
        host: Name or address of the broker.
        port: 1883, or 8883 with TLS, where the address names none.
        topic: Of the results.
        tls: Whether the connection is encrypted and the broker's certificate checked.
        user: Name to log in with, None for none.
        password: The password to it.
    """

    host: str
    port: int
    topic: str
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, *, password: str | None = None) -> MqttAddress:
        """Read an address; what stands in it percent-encoded is decoded.

        Args:
            url: ``mqtt://`` or ``mqtts://``, user and password if needed, host, port if it is another, topic.
            password: Instead of one in the address, where others may read it.

        Raises:
            InputError: Not such an address. The message repeats neither user nor password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            # What no resolver and no broker could be sent: lone surrogates, labels of more than 63 characters.
            (parts.hostname or "").encode("idna")
            size = len(url.encode()) + len((password or "").encode())
        except ValueError as error:
            raise InputError(f"the MQTT address cannot be read; it must be {_FORM}") from error
        if parts.scheme not in _PORTS or not parts.hostname or port == 0 or size > _LONGEST_BYTES:
            raise InputError(f"the MQTT address must be {_FORM}")
        if set(url) & set("?#"):
            raise InputError(f"the MQTT address must be {_FORM}; write ? and # of a password as %3F and %23")
        topic = unquote(parts.path.removeprefix("/"))
        if not topic or set(topic) & set("+#\0"):
            raise InputError(
                f"the MQTT topic {topic[:80]!r} cannot be published to: one without + and # is needed, {_FORM}"
            )
        user = None if parts.username is None else unquote(parts.username)
        given = None if parts.password is None else unquote(parts.password)
        chosen = given if password is None else password
        if chosen is not None and not user:
            raise InputError(f"an MQTT password needs a user name: {_FORM}")
        return cls(
            parts.hostname, port or _PORTS[parts.scheme], topic, parts.scheme == "mqtts", user or None, chosen
        )

    @property
    def availability(self) -> str:
        """The topic that says ``online`` or ``offline``."""
        return f"{self.topic}/availability"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}/{self.topic}"
