# SPDX-License-Identifier: Apache-2.0
"""`Callback`: a function of yours as an output."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from pitviper.sdk.errors import InputError, SinkError
from pitviper.sdk.sinks.counts import OutputCounts, OutputStats

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["Callback"]

_LOG = logging.getLogger("pitviper.sinks")


_EVERY: Final = 1000
"""After the first error, one in so many is logged: a function that always raises must not fill a disk."""


class Callback:
    """Calls a function with each frame and its result.

    In the modes ``latest`` and ``fresh`` the function is called in a thread of its own, behind a queue, as every sink
    is; in the others in the thread that iterates over the stream.

    Args:
        function: Called with a `Frame` and its `Detections`.
        on_error: ``log`` (an exception of the function is logged with its traceback, counted as ``failed``, and the
            stream goes on) or ``raise`` (it ends the stream).

    Attributes:
        name: Name of the function.

    Raises:
        InputError: ``function`` cannot be called, or ``on_error`` is neither of the two.

    Example:
        >>> def alarm(frame, found):
        ...     if len(found):
        ...         print(frame.index, found.xy)
        >>> sinks = [Callback(alarm)]
    """

    def __init__(
        self, function: Callable[[Frame, Detections], object], *, on_error: Literal["log", "raise"] = "log"
    ) -> None:
        if not callable(function):
            raise InputError(f"function must be callable with a frame and its result, got {function!r}")
        if on_error not in ("log", "raise"):
            raise InputError(f"on_error must be 'log' or 'raise', got {on_error!r}")
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._raises = on_error == "raise"
        self._counts = OutputCounts()
        self._failures = 0
        self._closed = False

    @property
    def stats(self) -> OutputStats:
        """Counts up to now."""
        return self._counts.stats()

    def write(self, frame: Frame, detections: Detections) -> None:
        """Call the function. Raises what it raises, if that is the policy."""
        if self._closed:
            raise SinkError(f"the callback {self.name} is already closed; make a new one")
        self._counts.give()
        try:
            self._function(frame, detections)
        except Exception as error:
            self._counts.drop("failed")
            if self._raises:
                raise
            if self._failures % _EVERY == 0:
                _LOG.error(
                    "the callback %s raised %s at frame %d (%d such errors before)",
                    self.name,
                    type(error).__name__,
                    detections.frame_id,
                    self._failures,
                    exc_info=True,
                )
            self._failures += 1
        else:
            self._counts.write()

    def close(self) -> None:
        """Nothing is left to finish."""
        self._closed = True
