# SPDX-License-Identifier: Apache-2.0
"""A live source that is opened again when it was lost."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pitviper.sdk.arguments import require_number
from pitviper.sdk.errors import InputError, SourceLost
from pitviper.sdk.sources import Frame, Source, open_source
from pitviper.sdk.sources.schemes import find_scheme
from pitviper.sdk.wakeup import Wakeup

__all__ = ["Reconnect", "ReconnectingSource", "open_reconnecting"]

_LOG = logging.getLogger("pitviper.sources")
_WATCH = "watch"


@dataclass(frozen=True)
class Reconnect:
    """How a lost live source is opened again: at once after ``first_s``, then less and less often.

    Attributes:
        first_s: Wait before the first attempt, in seconds.
        factor: Each wait is so many times the one before it.
        longest_s: Longest wait between attempts, in seconds.
        give_up_s: Seconds without a frame after which `SourceLost` is raised; None never gives up.

    Raises:
        InputError: A value out of range.
    """

    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 10.0
    give_up_s: float | None = 60.0

    def __post_init__(self) -> None:
        require_number("first_s", self.first_s, above=0, unit="seconds")
        require_number("longest_s", self.longest_s, least=self.first_s, unit="seconds (first_s)")
        require_number("factor", self.factor, least=1)
        if self.give_up_s is not None:
            unit = "seconds, or None to go on for ever"
            require_number("give_up_s", self.give_up_s, above=0, unit=unit, endless=True)

    def waits(self) -> Iterator[float]:
        """Seconds to wait before each attempt."""
        wait = self.first_s
        while True:
            yield wait
            wait = min(wait * self.factor, self.longest_s)


class ReconnectingSource(Source):
    """Reads a live source and opens it again when it was lost. Frames keep counting upwards.

    The first frame after a loss has the flags ``after_gap`` and ``reconnected``. A source that ends by itself, without
    an error, has ended.

    Args:
        opener: Opens the source; called again after each loss.
        policy: When, and for how long.

    Attributes:
        recovering: Whether the source is lost and its first frame has not come back yet.
        reconnects: Times that it was opened again.

    Raises:
        SourceError: It could not be opened the first time: an address that is wrong is told at once.
    """

    def __init__(
        self, opener: Callable[[], Source], policy: Reconnect, *, opened: Source | None = None
    ) -> None:
        self._opener = opener
        self._policy = policy
        self._source = opener() if opened is None else opened
        super().__init__(self._source.info, files=self._source.files)
        self.recovering = False
        self.reconnects = 0
        self._wakeup = Wakeup()
        self._alive_at = time.monotonic()
        self._attempts = 0
        self._waits = policy.waits()

    @property
    def alive_at(self) -> float:
        """When the source was opened, or its opening begun, by the monotonic clock; now while it waits for that."""
        return (
            time.monotonic() if self._alive_at is None else max(self._alive_at, self._source.alive_at or 0.0)
        )

    @property
    def camera(self) -> Any:
        """The `CameraProfile` by which frames are read, or None."""
        return getattr(self._source, "camera", None)

    def interrupt(self) -> None:
        """End the waiting, between attempts too, from any thread; iteration ends."""
        super().interrupt()
        self._source.interrupt()
        self._wakeup.set()

    def _read(self) -> Iterator[Frame]:
        base = last = skipped = 0
        seen = time.monotonic()
        while not self._interrupted:
            try:
                for frame in self._source:
                    last, seen = base + frame.index, time.monotonic()
                    self.skipped = skipped + self._source.skipped
                    flags = ("after_gap", "reconnected") if self.recovering else ()
                    if self.recovering:
                        # Only a frame shows that it is back: a camera that opens and dies is not tried ever faster.
                        self.recovering, self._attempts, self._waits = False, 0, self._policy.waits()
                    yield replace(frame, index=last, flags=(*frame.flags, *flags))
                return
            except OSError as error:
                # Every SourceError is one, and so is what the sockets of a user's own source raise. A folder is lost
                # when it is gone: opened again after silence or a bad image, it would miss what came meanwhile.
                if self.info.kind == _WATCH and not isinstance(error, SourceLost):
                    raise
                skipped += self._source.skipped
                base = last + 1
                self._reopen(error, seen)

    def _reopen(self, error: OSError, seen: float) -> None:
        """Try until it opens, the policy ends it, or it is interrupted."""
        self.recovering = True
        self._source.close()
        _LOG.warning("%s: lost (%s); opening it again", self.info.name, error)
        for wait in self._waits:
            self._check_limit(error, seen, wait)
            self._attempts += 1
            self._alive_at = None
            self._wakeup.wait(wait)
            self._alive_at = time.monotonic()
            if self._interrupted:
                return
            try:
                self._source = self._opener()
            except OSError as again:
                error = again
                continue
            self._alive_at = time.monotonic()
            self.reconnects += 1
            _LOG.info("%s: opened again at attempt %d", self.info.name, self._attempts)
            return

    def _check_limit(self, error: OSError, seen: float, wait: float) -> None:
        limit = self._policy.give_up_s
        silent = time.monotonic() - seen
        if limit is None or silent + wait <= limit:
            return
        raise SourceLost(
            f"{self.info.name}: lost, and {self._attempts} attempts to open it again in {silent:.1f} s failed: "
            f"{error}. Check the camera, its cable or network, and that it gives frames; Reconnect(give_up_s=None), or "
            "--reconnect inf, never gives up"
        ) from error

    def _release(self) -> None:
        self._source.close()


def open_reconnecting(spec: Any, policy: Reconnect | bool = True, **options: Any) -> Source:
    """`open_source`, with a live source wrapped in a `ReconnectingSource` where it can be opened again.

    Args:
        spec: As in `open_source`. An address, a device or a function can be opened again; an opened source and an
            iterable cannot.
        policy: True takes `Reconnect()`, False does not reconnect.
        options: Those of `open_source`. A watched folder may be silent for ``give_up_s`` where that is longer than
            ``timeout_s``; it is opened again only when it was gone.

    Raises:
        InputError: A policy for what cannot be opened again.
        SourceError: As from `open_source`.
    """

    chosen = Reconnect() if policy is True else policy
    if chosen and isinstance(spec, str) and find_scheme(spec).names[0] == _WATCH:
        give_up_s = math.inf if chosen.give_up_s is None else chosen.give_up_s
        options["timeout_s"] = max(options.get("timeout_s", 0.0), give_up_s)

    def opener() -> Source:
        return open_source(spec, **options)

    again = isinstance(spec, (str, os.PathLike, int)) or (callable(spec) and not isinstance(spec, Source))
    if isinstance(policy, Reconnect) and not again:
        raise InputError(
            f"a {type(spec).__name__} cannot be opened again; pass the address of the source, or a function"
        )
    opened = opener()
    if not chosen or not again or not opened.info.live:
        return opened
    return ReconnectingSource(opener, chosen, opened=opened)
