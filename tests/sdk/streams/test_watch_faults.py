# SPDX-License-Identifier: Apache-2.0
"""A watched folder that is silent, holds a bad image or is gone, through a whole stream."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image

from pitviper import sdk

from .conftest import adds_up, picture

pytestmark = pytest.mark.usefixtures("nothing_left")


def put(folder: Path, *numbers: int) -> None:
    """Images that appear when they are whole."""
    for number in numbers:
        hidden = folder / f".{number}.png"
        Image.fromarray(picture(number)).save(hidden)
        hidden.rename(folder / f"{number}.png")


def test_no_image_is_lost_by_silence(detector: sdk.Detector, tmp_path: Path) -> None:
    """Silence is no loss: a folder that was opened again would not read what came while it was closed."""
    names: list[str | None] = []
    with detector.stream(f"watch:{tmp_path}", timeout_s=0.1, mode="all") as stream:
        put(tmp_path, 0)
        while len(names) < 9:
            found = next(stream)
            names.append(found.name)
            assert "reconnected" not in found.flags
            if len(names) in (1, 5):
                time.sleep(0.8)  # several times the limit, in which nothing is there to read
                put(tmp_path, *range(len(names), len(names) + 4))
        assert names == [f"{number}.png" for number in range(9)]
        assert (stream.stats.reconnects, dict(stream.stats.dropped)) == (0, {})
    assert adds_up(stream.stats, 9)


def test_a_bad_image_is_an_error_and_no_loss(detector: sdk.Detector, tmp_path: Path) -> None:
    stream = detector.stream(f"watch:{tmp_path}", timeout_s=0.1, mode="all")
    put(tmp_path, 0)
    assert next(stream).name == "0.png"
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(sdk.SourceError, match=r"1\.png.*on_error=\"skip\""):
        next(stream)
    assert (stream.state, stream.stats.reconnects) == ("failed", 0)


@pytest.mark.parametrize("reconnect", [sdk.Reconnect(first_s=0.1, longest_s=0.1, give_up_s=0.3), False])
def test_silence_for_too_long_is_a_timeout(
    detector: sdk.Detector, tmp_path: Path, reconnect: sdk.Reconnect | bool
) -> None:
    stream = detector.stream(f"watch:{tmp_path}", timeout_s=0.1, reconnect=reconnect)
    limit = "0.3" if reconnect else "0.1"
    with pytest.raises(sdk.SourceTimeout, match=f"no new image for {limit} s after 0"):
        next(stream)


def test_a_folder_that_was_gone_is_opened_again(detector: sdk.Detector, tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    policy = sdk.Reconnect(first_s=0.05, longest_s=0.05)
    with detector.stream(f"watch:{folder}", timeout_s=5.0, mode="all", reconnect=policy) as stream:
        put(folder, 0)
        assert next(stream).name == "0.png"
        folder.rename(tmp_path / "elsewhere")
        while stream.state != "reconnecting":
            assert stream.read(0.05) is None
        folder.mkdir()
        while stream.stats.reconnects == 0:
            assert stream.read(0.05) is None
        put(folder, 1)
        found = next(stream)
    assert (found.name, set(found.flags) >= {"after_gap", "reconnected"}) == ("1.png", True)
