# SPDX-License-Identifier: Apache-2.0
"""The client of paho-mqtt, set up for `Mqtt`."""

from __future__ import annotations

import os
import secrets
import ssl
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from pitviper.sdk.errors import MissingExtra, SinkError
from pitviper.sdk.sinks.mqtt_address import MqttAddress

__all__ = ["make_client"]

_RECONNECT_S: Final = (1, 30)


def make_client(
    address: MqttAddress, ca: str | os.PathLike[str] | None, note: Callable[[str, Any], None]
) -> tuple[Any, int]:
    """A client that is not connected yet, and the code that marks messages lost with their connection.

    Args:
        address: Broker, topic and credentials.
        ca: File of certificates that the broker's must be signed by; None takes those of the system.
        note: Called with ``connect`` and the broker's reason, ``lost`` and a reason, ``unreachable`` and an exception,
            ``published`` and the number of a message. The client calls it from its own thread while it holds locks: it
            must neither wait nor call the client.

    Raises:
        MissingExtra: paho-mqtt is not installed. SinkError: The certificates cannot be read.
    """
    try:
        paho: Any = import_module("paho.mqtt.client")
    except ImportError as error:
        raise MissingExtra(
            f"MQTT needs the package paho-mqtt ({error}); pip install 'pitviper[mqtt]'"
        ) from error
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"pitviper-{secrets.token_hex(4)}")
    if address.user is not None:
        client.username_pw_set(address.user, address.password)
    if address.tls:
        try:
            client.tls_set(ca_certs=None if ca is None else os.fspath(ca))
        except (OSError, ssl.SSLError) as error:
            raise SinkError(f"{address}: the certificates in {ca} cannot be read: {error}") from error
    client.will_set(address.availability, "offline", qos=1, retain=True)
    client.reconnect_delay_set(*_RECONNECT_S)
    client.on_connect = lambda _client, _data, _flags, reason, _properties: note("connect", reason)
    client.on_disconnect = lambda _client, _data, _flags, reason, _properties: note("lost", reason)
    # Called while the exception is being handled; the client has no other way of telling the reason.
    client.on_connect_fail = lambda _client, _data: note("unreachable", sys.exc_info()[1])
    client.on_publish = lambda _client, _data, mid, _reason, _properties: note("published", mid)
    return client, int(paho.MQTT_ERR_CONN_LOST)
