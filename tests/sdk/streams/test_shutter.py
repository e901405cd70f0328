# SPDX-License-Identifier: Apache-2.0
"""A shutter correction in the middle of a stream: results are flagged, tracks coast through it and keep their ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.sources import Frame, FrameTime

from .conftest import Script, adds_up

pytestmark = pytest.mark.usefixtures("nothing_left")

SHUT = range(40, 65)
"""One second at 25 frames per second: twice as long as a track may coast."""


def scene(number: int, *, target: bool = True) -> Any:
    image = np.random.default_rng(number).normal(7800, 12, (64, 200)).astype(np.uint16)
    image += (40 * np.sin(np.arange(200) / 9)).astype(np.int16).astype(np.uint16)
    if target:
        column = 10 + round(1.5 * number)
        image[30:32, column : column + 2] += 900
    return image


def camera(kind: str) -> Iterator[Frame]:
    """A target on its way; during the shutter the last picture again, or a flat one with the camera's own word."""
    for number in range(90):
        image, flags = scene(number), ()
        if number in SHUT:
            image = scene(SHUT.start - 1) if kind == "frozen" else scene(number, target=False)
            flags = ("ffc",) if kind == "telemetry" else ()
        yield Frame(image, number, FrameTime.now(number * 40_000_000), None, flags)


@pytest.mark.parametrize("kind", ["frozen", "telemetry"])
def test_a_track_keeps_its_id_through_a_shutter(detector: sdk.Detector, kind: str) -> None:
    monitor, tracker = sdk.ThermalMonitor(), sdk.Tracker()
    with detector.stream(Script(camera(kind)), mode="all", monitor=monitor, tracker=tracker) as stream:
        results = list(stream)
    assert [found.frame_id for found in results] == [*range(90)], "no frame is left out"
    confirmed = {track.id for found in results for track in found.tracks or ()}
    assert confirmed == {1}
    for number in SHUT:
        found = results[number]
        assert {"frozen", "ffc", "ffc_suspected"} & set(found.flags)
        assert "tracks_blind" in found.flags
        assert [(track.id, track.state) for track in found.tracks or ()] == [(1, "coasting")]
    for number in (SHUT.start - 1, SHUT.stop + 2, 89):
        (track,) = results[number].tracks or ()
        assert track.state == "confirmed"
        assert abs(track.x - (11 + 1.5 * number)) < 1.5, "it went on as the target did"
    assert stream.stats.flagged["tracks_blind"] == tracker.stats.blind >= len(SHUT)
    assert adds_up(stream.stats, 90)


def test_blindness_has_an_end(detector: sdk.Detector) -> None:
    """A camera that stays frozen does not keep tracks alive for ever."""

    def stuck() -> Iterator[Frame]:
        for number in range(140):
            yield Frame(
                scene(min(number, 30)),
                number,
                FrameTime.now(number * 40_000_000),
                None,
                ("ffc",) * (number > 30),
            )

    with detector.stream(Script(stuck()), mode="all", tracker=sdk.Tracker()) as stream:
        results = list(stream)
    assert len(results[30].tracks or ()) == len(results[31 + 70].tracks or ()) == 1
    assert results[-1].tracks == (), "after 3 s of blindness and half a second of coasting"
