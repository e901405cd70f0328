# SPDX-License-Identifier: Apache-2.0
"""The backends that run the operations, and which of them this installation has.

A backend asked for by name runs or raises. Only ``"auto"`` chooses, and when it cannot take the fastest one
it says so once in the log.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Final, Literal

from pitviper.kernels import native

BackendName = Literal["host", "numpy"]
BackendChoice = Literal["auto", "host", "numpy"]
PREFERENCE: Final[tuple[BackendName, ...]] = ("host", "numpy")
"""What ``"auto"`` tries, fastest first. ``host`` is compiled C++, ``numpy`` the definition itself."""

_LOG = logging.getLogger("pitviper.kernels")


@dataclass(frozen=True)
class Backend:
    """One backend, and the reason why it cannot run (empty when it can)."""

    name: BackendName
    reason: str = ""

    @property
    def available(self) -> bool:
        """Whether operations can run on it here."""
        return not self.reason


def available_backends() -> tuple[Backend, ...]:
    """Every backend in the order that ``"auto"`` prefers, those that cannot run with their reason.

    Example:
        >>> " ".join(backend.name for backend in available_backends())
        'host numpy'
    """
    return (Backend("host", native.missing_reason()), Backend("numpy"))


def resolve(choice: str) -> BackendName:
    """The backend that runs for ``choice``.

    Raises:
        ValueError: no backend has that name.
        NativeUnavailable: ``host`` was asked for by name and the compiled module is missing.
    """
    if choice == "auto":
        return _automatic()
    for backend in available_backends():
        if backend.name == choice:
            if not backend.available:
                raise native.NativeUnavailable(f"backend '{choice}' cannot run: {backend.reason}")
            return backend.name
    raise ValueError(f"unknown backend {choice!r}; there are 'auto', " + ", ".join(map(repr, PREFERENCE)))


@functools.cache
def _automatic() -> BackendName:
    backends = available_backends()
    chosen = next(backend for backend in backends if backend.available)
    for passed_over in backends[: backends.index(chosen)]:
        _LOG.warning("kernels run on the slower backend '%s': %s", chosen.name, passed_over.reason)
    return chosen.name
