# SPDX-License-Identifier: Apache-2.0
"""`Tracker`: follows points from frame to frame and says which of them last."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.arguments import require_number
from pitviper.sdk.errors import InputError
from pitviper.sdk.tracking import association, kalman
from pitviper.sdk.tracking.clock import Clock, ClockName
from pitviper.sdk.tracking.confirmation import Confirmation
from pitviper.sdk.tracking.track import Track, TrackerStats, TrackState

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["Tracker"]

_LOG = logging.getLogger("pitviper.tracking")
_BLIND = frozenset({"frozen", "ffc", "ffc_suspected"})
# Longer than the shutter corrections of the cameras that are known here; what lies farther back is no track any more.
_LONGEST_BLIND_S = 3.0
_Assigned = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass
class _Life:
    """What is counted of a track, beside its filter."""

    id: int
    born_s: float
    seen_s: float
    hits: int = 1
    looks: int = 1
    confirmed: bool = False
    blind_s: float = 0.0


class Tracker:
    """Follows targets by their centroids, where boxes of a few pixels do not overlap from frame to frame.

    Constant-velocity Kalman filters with the real time between frames, a Mahalanobis gate, one global assignment
    per frame (confirmed tracks first, then tentative ones), M-of-N confirmation and coasting. To be used by one
    thread, and for one sequence: a second source needs a second tracker or `reset`.

    - A frame whose time equals that of the frame before is no new evidence: its detections get their tracks' ids,
      nothing else changes, and the result has the flag ``time_repeated``.
    - A frame that is older by up to `max_coast_s` came out of order: it is left out (no ids, ``time_late``).
    - A clock that jumps back farther, or a frame of another size, ends all tracks (``tracks_ended``).
    - A frame that the camera calls ``ffc``, or the thermal monitor ``frozen`` or ``ffc_suspected``, shows nothing new:
      tracks coast through it, its detections get no ids, it does not count as one of the N frames (``tracks_blind``),
      and its time does not count against `max_coast_s`, up to 3 seconds in a row.
    - A frame without a time is taken to follow at the last interval (``time_guessed``); the first one must have one.

    All of these are counted in `stats`.

    Args:
        motion: How targets move and how well they are measured.
        confirm: M and N: a track is confirmed by M detections within its first N frames, and dropped when it can no
            longer get there. 3 of 5 is a fifth of a second at 25 frames per second.
        max_coast_s: How long a track goes on without a detection; never longer than it was followed before, because
            a young track's velocity says little. A track that was detected in the frame before always gets the
            chance of the next frame, however late that comes. Half a second is one shutter correction, or a pass
            behind a pole.
        gate_probability: Share of a target's own detections that the gate lets through.
        clutter_per_mpix: Detections per frame and million pixels that belong to no track. It bounds how far a track
            that has not been seen for long may reach (see `association.log_ratio`). The default is the order that the
            shipped models have on cluttered scenes, and 3 detections in a frame of 640 x 512.
        start_score: Smallest peak probability that begins a track; fainter detections only continue one.
        clock: ``sensor`` (the source's own time stamps), ``host`` (arrival on this machine: only for live sources), or
            the frames per second of frames that have none, which are then placed by their number.
        ego: Motion of the picture: called with each `Frame` of a stream, returns what `update` takes as ``motion``,
            or None where it cannot tell (flag ``motion_unknown``; the picture is taken to stand still).

    Raises:
        InputError: A value out of range.

    Example:
        >>> from pitviper import sdk
        >>> with sdk.Detector() as detector:  # doctest: +SKIP
        ...     for found in detector.stream("video.mp4", tracker=sdk.Tracker()):
        ...         for track in found.tracks:
        ...             print(found.frame_id, track.id, track.state, track.x, track.y, track.vx, track.vy)
    """

    def __init__(
        self,
        motion: kalman.MotionModel | None = None,
        *,
        confirm: tuple[int, int] = (3, 5),
        max_coast_s: float = 0.5,
        gate_probability: float = 0.999,
        clutter_per_mpix: float = 10.0,
        start_score: float = 0.0,
        clock: ClockName | float = "sensor",
        ego: Callable[[Frame], Any] | None = None,
    ) -> None:
        require_number("gate_probability", gate_probability, above=0, below=1)
        require_number("clutter_per_mpix", clutter_per_mpix, above=0)
        require_number("max_coast_s", max_coast_s, least=0, unit="seconds")
        require_number("start_score", start_score, least=0, below=1)
        self._model = motion or kalman.MotionModel()
        self._rule = Confirmation.of(confirm)
        self._max_coast_s = max_coast_s
        self._start_score = start_score
        self._ego = ego
        self._gate = association.gate_distance(gate_probability)
        self._clutter = clutter_per_mpix * 1e-6
        self._clock = Clock(clock, max_coast_s)
        self._stats = TrackerStats()
        self._shape: tuple[int, int] | None = None
        self._moved: kalman.Array | None = None
        self._lives: list[_Life] = []
        self._mean, self._covariance = kalman.nothing()

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Every track at the time of the newest frame, tentative ones too, by id."""
        return tuple(self._snapshot(index) for index in range(len(self._lives)))

    @property
    def stats(self) -> TrackerStats:
        """Counts up to now."""
        return self._stats

    def reset(self) -> None:
        """End all tracks and forget the clock, for another sequence. Ids go on where they were."""
        self._end_all()
        self._clock.forget()
        self._shape = None

    def update(
        self,
        detections: Detections,
        *,
        time_s: float | None = None,
        motion: Any = None,
        frame: Frame | None = None,
    ) -> Detections:
        """Take in the detections of the next frame.

        Args:
            detections: Targets of the frame, in any order.
            time_s: Time of the frame in seconds, instead of the clock's; for every frame or for none.
            motion: float [2, 3], how the picture moved since the last frame that was given: the affine map from
                pixel coordinates (x, y, 1) of a resting point in that frame to (x, y) in this one. It goes before
                `ego`.
            frame: The frame itself, for `ego`. Streams give it.

        Returns:
            The same detections with `track_id` (-1 for those of tentative tracks and of none) and with `tracks`, the
            confirmed and coasting ones.

        Raises:
            InputError: A frame without a usable time, or a motion that is none. The tracks are as they were before.
        """
        flags: list[str] = []
        affine = self._motion(motion, frame, flags)
        step = self._clock.step(detections, time_s)
        if affine is not None:
            # What a frame that carries no track forward moved is kept for the next one that does.
            self._moved = kalman.chained(affine, self._moved)
        self._count(frames=1, guessed=int(step.guessed))
        flags += ["time_guessed"] if step.guessed else []
        resized = self._shape not in (None, detections.shape)
        if step.kind == "restart" or (resized and step.kind != "late"):
            reason = "the clock jumped back" if step.kind == "restart" else "the frame size changed"
            _LOG.warning("frame %d: %s; %d tracks ended", detections.frame_id, reason, len(self._lives))
            self._end_all()
            self._count(restarts=1)
            flags.append("tracks_ended")
        if step.kind == "late":
            self._count(late=1)
            return self._labelled(detections, np.full(len(detections), -1), [*flags, "time_late"])
        self._shape = detections.shape
        # One order for all input orders, so that new ids do not depend on it.
        order = np.lexsort((detections.score, detections.xy[:, 0], detections.xy[:, 1]))
        xy = detections.xy[order]
        if step.kind == "repeated":
            self._count(repeated=1)
            flags.append("time_repeated")
            tracks, found = self._assigned(xy)
        else:
            self._carry(step.seconds)
            if _BLIND.isdisjoint(detections.flags):
                tracks, found = self._look(xy, detections.score[order])
            else:
                self._count(blind=1)
                for life in self._lives:
                    life.blind_s += step.seconds
                flags.append("tracks_blind")
                tracks = found = np.empty(0, np.intp)
        number = np.full(len(xy), -1, np.int64)
        number[order[found]] = [self._lives[at].id if self._lives[at].confirmed else -1 for at in tracks]
        if step.kind != "repeated":
            self._end_old()
        return self._labelled(detections, number, flags)

    def _carry(self, seconds: float) -> None:
        """Carry all tracks to the time and the view of the frame."""
        self._mean, self._covariance = kalman.predict(self._mean, self._covariance, seconds, self._model)
        if self._moved is not None:
            self._mean, self._covariance = kalman.warp(self._mean, self._covariance, self._moved)
            self._moved = None

    def _look(self, xy: kalman.Array, score: NDArray[np.float32]) -> _Assigned:
        """Correct the tracks that are seen, begin new ones; returns all pairs of tracks and detections."""
        tracks, found = self._assigned(xy)
        self._mean[tracks], self._covariance[tracks] = kalman.correct(
            self._mean[tracks], self._covariance[tracks], xy[found], self._model
        )
        now = self._clock.now_s
        for life in self._lives:
            life.looks += 1
        for at in tracks:
            life = self._lives[at]
            life.hits += 1
            life.seen_s, life.blind_s = now, 0.0
            self._confirm(life)
        return self._begin(xy, score, tracks, found)

    def _begin(
        self, xy: kalman.Array, score: NDArray[np.float32], tracks: NDArray[np.intp], found: NDArray[np.intp]
    ) -> _Assigned:
        """Begin a track at each detection that has none; returns all pairs, the new ones included."""
        free = np.setdiff1d(np.flatnonzero(score >= self._start_score), found)
        mean, covariance = kalman.start(xy[free], self._model)
        born = np.arange(len(self._lives), len(self._lives) + len(free))
        self._mean = np.concatenate([self._mean, mean])
        self._covariance = np.concatenate([self._covariance, covariance])
        now, first = self._clock.now_s, self._stats.started + 1
        self._count(started=len(free))
        for number in range(first, first + len(free)):
            self._lives.append(_Life(number, now, now))
            self._confirm(self._lives[-1])
        return np.concatenate([tracks, born]), np.concatenate([found, free])

    def _confirm(self, life: _Life) -> None:
        if not life.confirmed and self._rule.reached(life.hits):
            life.confirmed = True
            self._count(confirmed=1)

    def _assigned(self, xy: kalman.Array) -> _Assigned:
        """Tracks and their detections: confirmed tracks choose first."""
        confirmed = np.array([life.confirmed for life in self._lives], np.bool_)
        spread = kalman.innovation(self._covariance, self._model)
        free = np.ones(len(xy), np.bool_)
        pairs: list[_Assigned] = []
        for group in (np.flatnonzero(confirmed), np.flatnonzero(~confirmed)):
            left = np.flatnonzero(free)
            rows, columns = association.match(
                self._mean[group, :2], spread[group], xy[left], gate=self._gate, clutter_per_px=self._clutter
            )
            free[left[columns]] = False
            pairs.append((group[rows], left[columns]))
        return np.concatenate([rows for rows, _ in pairs]), np.concatenate([columns for _, columns in pairs])

    def _end_old(self) -> None:
        keep = np.array([self._goes_on(life) for life in self._lives], np.bool_)
        self._count(ended=int((~keep).sum()))
        self._lives = [life for life, kept in zip(self._lives, keep, strict=True) if kept]
        self._mean, self._covariance = self._mean[keep], self._covariance[keep]

    def _goes_on(self, life: _Life) -> bool:
        # A billionth of a second is the grain of time stamps; the difference of two floats is no finer than that.
        unseen_s = self._clock.now_s - life.seen_s - min(life.blind_s, _LONGEST_BLIND_S)
        rested = unseen_s <= min(self._max_coast_s, life.seen_s - life.born_s) + 1e-9
        if life.confirmed:
            return rested or life.seen_s == self._clock.now_s
        return not self._rule.hopeless(life.hits, life.looks)

    def _end_all(self) -> None:
        self._count(ended=len(self._lives))
        self._moved = None
        self._lives = []
        self._mean, self._covariance = kalman.nothing()

    def _motion(self, given: Any, frame: Frame | None, flags: list[str]) -> kalman.Array | None:
        if given is None and self._ego is not None:
            if frame is None:
                raise InputError(
                    "this tracker has an ego motion, which needs the frame: update(..., frame=frame)"
                )
            given = self._ego(frame)
            flags += ["motion_unknown"] if given is None else []
        return None if given is None else kalman.checked_affine(given)

    def _labelled(self, detections: Detections, number: NDArray[np.int64], flags: list[str]) -> Detections:
        shown = tuple(self._snapshot(index) for index, life in enumerate(self._lives) if life.confirmed)
        return replace(detections, track_id=number, tracks=shown, flags=(*detections.flags, *flags))

    def _snapshot(self, index: int) -> Track:
        life, now = self._lives[index], self._clock.now_s
        x, y, vx, vy = (float(value) for value in self._mean[index])
        state: TrackState = "tentative"
        if life.confirmed:
            state = "confirmed" if life.seen_s == now else "coasting"
        sigma = math.sqrt(max(self._covariance[index, 0, 0], self._covariance[index, 1, 1]))
        return Track(life.id, state, x, y, vx, vy, sigma, now - life.born_s, now - life.seen_s, life.hits)

    def _count(self, **more: int) -> None:
        self._stats = replace(self._stats, **{k: getattr(self._stats, k) + n for k, n in more.items()})
