# SPDX-License-Identifier: Apache-2.0
"""Which open stream a tracker or monitor belongs to: each knows one scene, and in two streams it would mix them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.stream import Stream

__all__ = ["claim", "require_free"]

# By id: a stream keeps what it owns alive, so that no id comes twice while its entry is there.
_OWNERS: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()


def require_free(**owned: Any) -> None:
    """Raise InputError where one of them, by what it is, belongs to a stream that is open."""
    for name, thing in owned.items():
        owner = None if thing is None else _OWNERS.get(id(thing))
        if owner is not None and owner.state not in ("ended", "failed", "closed"):
            raise InputError(
                f"this {name} belongs to another open stream ({owner.info.name}); make a {name} for each stream, or "
                "close that one first"
            )


def claim(stream: Stream, *owned: Any) -> None:
    """Note whose they are from now on."""
    for thing in owned:
        if thing is not None:
            _OWNERS[id(thing)] = stream
