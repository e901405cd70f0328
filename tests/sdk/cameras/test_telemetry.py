# SPDX-License-Identifier: Apache-2.0
"""Telemetry words: what they mean, and that no content of them can do harm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitviper import sdk
from pitviper.sdk.cameras.telemetry import DECODERS, Telemetry, decode


@pytest.mark.parametrize(("bits", "state"), [*enumerate(("never", "imminent", "running", "done"))])
def test_lepton_status_bits(bits: int, state: str) -> None:
    words = np.zeros((2, 160), np.uint16)
    words[0, 3], words[0, 4] = bits << 4, 1 << 4
    words[0, 20], words[0, 21] = 7, 2
    words[0, 30], words[0, 31] = 5, 1
    assert decode("lepton", words) == Telemetry(7 + 2 * 65536, state, 65541, False)  # type: ignore[arg-type]
    words[0, 3] |= 1 << 12
    assert decode("lepton", words).agc is True


def test_rows_of_80_words_are_read_on() -> None:
    words = np.zeros((3, 80), np.uint16)
    words[0, 20] = 9
    assert decode("lepton", words).frame_counter == 9


def test_boson_counts_and_seek_types() -> None:
    words = np.zeros((2, 640), np.uint16)
    words[0, 42:46] = (1, 1, 2, 0)
    assert decode("boson", words) == Telemetry(65537, None, 2, None)
    row = np.zeros((1, 208), np.uint16)
    row[0, 10], row[0, 40] = 3, 12
    assert decode("seek", row) == Telemetry(12, "done", None, None)
    for kind in (1, 4, 0, 9):
        row[0, 10] = kind
        assert decode("seek", row).shutter == "running"


@settings(deadline=None)
@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=200))
def test_any_words_give_telemetry_or_one_typed_error(name: str, content: bytes) -> None:
    rows = np.frombuffer(content[: len(content) // 2 * 2], "<u2").reshape(1, -1)
    if rows.size < DECODERS[name][1]:
        with pytest.raises(sdk.InputError, match="words"):
            decode(name, rows)
        return
    assert decode(name, rows).shutter in (None, "never", "imminent", "running", "done")


def test_unknown_telemetry_lists_what_exists() -> None:
    with pytest.raises(sdk.InputError, match="boson, lepton, seek"):
        decode("odd", np.zeros((2, 80), np.uint16))
