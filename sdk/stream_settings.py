# SPDX-License-Identifier: Apache-2.0
"""How a stream runs, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pitviper.sdk.arguments import require_number, require_whole
from pitviper.sdk.errors import InputError
from pitviper.sdk.feeds import FeedPlan
from pitviper.sdk.reconnect import Reconnect

__all__ = ["MODES", "StreamSettings"]

MODES: Final = ("auto", "all", "latest", "fresh", "throughput")
_POLICIES: Final = ("raise", "skip")
# Frames between reader and detector. Two let the next file be decoded while the network runs.
_DEPTHS: Final = {"all": 2, "latest": 1, "fresh": 8, "throughput": 8}
_FRESH_S: Final = 0.5
_STALL_S: Final = 1.0


@dataclass(frozen=True)
class StreamSettings:
    """How a stream runs; see `Detector.stream` for what each means.

    Raises:
        InputError: A value out of range, or one that does not belong to the mode.
    """

    mode: str = "auto"
    threshold: float = 0.5
    timeout_s: float = 5.0
    every: int = 1
    keep_maps: bool = False
    on_error: str = "raise"
    queue: int | None = None
    max_age_s: float | None = None
    reconnect: Reconnect | bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"stream mode {self.mode!r} does not exist; there are {', '.join(MODES)}")
        if self.on_error not in _POLICIES:
            raise InputError(f"on_error {self.on_error!r} does not exist; there are {', '.join(_POLICIES)}")
        require_whole("every", self.every, least=1, note=" (process every n-th frame)")
        require_number("timeout_s", self.timeout_s, above=0, unit="seconds", endless=True)
        if not isinstance(self.reconnect, (bool, Reconnect)):
            raise InputError(f"reconnect must be True, False or a Reconnect, got {self.reconnect!r}")
        if self.queue is not None:
            require_whole("queue", self.queue, least=1, note=" (frames), or None")
        if self.queue not in (None, 1) and self.mode in ("latest", "auto"):
            raise InputError(
                f"queue={self.queue} needs mode all, fresh or throughput; latest keeps one frame, the newest"
            )
        if self.max_age_s is not None and self.mode != "fresh":
            raise InputError(f'max_age_s belongs to mode="fresh"; mode is {self.mode!r}')
        if self.max_age_s is not None:
            require_number("max_age_s", self.max_age_s, above=0, unit="seconds", endless=True)

    def chosen_mode(self, live: bool) -> str:
        """The mode that ``auto`` stands for."""
        return self.mode if self.mode != "auto" else "latest" if live else "all"

    def plan(self, mode: str) -> FeedPlan:
        """The buffer between reader and detector in a mode."""
        return FeedPlan(
            depth=self.queue or _DEPTHS[mode],
            blocks=mode in ("all", "throughput"),
            max_age_s=(self.max_age_s or _FRESH_S) if mode == "fresh" else None,
            every=self.every,
            timeout_s=self.timeout_s,
            stall_s=min(_STALL_S, self.timeout_s / 2),
        )
