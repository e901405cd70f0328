# SPDX-License-Identifier: Apache-2.0
"""Camera profiles: what is cut, swapped and refused, and profiles of one's own."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.sdk.cameras import CAMERAS, CameraProfile, RawLayout, camera_profile
from pitviper.sdk.sources import open_source

SIZES = [(name, layout) for name, profile in CAMERAS.items() for layout in profile.layouts]


def counted(shape: tuple[int, int], bits: int) -> NDArray[np.uint16]:
    """Every pixel tells where it is, so that a wrong crop cannot pass."""
    return (np.arange(shape[0] * shape[1]) % (1 << bits)).astype(np.uint16).reshape(shape)


@pytest.mark.parametrize(("name", "layout"), SIZES, ids=lambda v: str(getattr(v, "raw", v)))
def test_each_mode_is_cropped_to_its_picture(name: str, layout: RawLayout) -> None:
    raw = counted(layout.raw, 16)
    kept = raw.copy()
    picture, telemetry = CAMERAS[name].unpack(raw)
    assert np.array_equal(picture, raw[slice(*layout.rows), slice(*layout.columns)])
    assert (telemetry is None) == (layout.telemetry is None or not CAMERAS[name].telemetry)
    assert np.array_equal(raw, kept)
    again, _ = CAMERAS[name].unpack(raw.astype("<u2").tobytes())
    assert np.array_equal(again, picture)


@pytest.mark.parametrize("profile", CAMERAS.values(), ids=lambda p: p.name)
def test_every_profile_states_its_facts_and_survives_json(profile: CameraProfile, tmp_path: Path) -> None:
    assert profile.facts
    assert profile.name == "generic-y16" or profile.unverified
    (tmp_path / "camera.json").write_text(profile.to_json())
    assert CameraProfile.load(tmp_path / "camera.json") == profile
    assert camera_profile(str(tmp_path / "camera.json")) == profile
    assert camera_profile(profile.name) is profile


def test_big_endian_words_are_swapped_back() -> None:
    counts = counted((40, 48), 14)
    profile = CameraProfile("mine", byte_order="big")
    assert np.array_equal(profile.unpack(counts.byteswap())[0], counts)
    assert np.array_equal(CAMERAS["generic-y16"].unpack(counts)[0], counts)


def test_units() -> None:
    assert CAMERAS["lepton"].units == "0.01 kelvin per count"
    assert CAMERAS["boson"].units == "counts"
    assert CAMERAS["tau"].largest == 16383


def test_unknown_names_list_what_exists() -> None:
    with pytest.raises(sdk.InputError, match=r"boson, lepton, tau, infiray, seek, generic-y16"):
        camera_profile("bosun")
    with pytest.raises(sdk.InputError, match="boson, lepton"):
        open_source(np.zeros((2, 64, 64), np.uint16), camera="bosun")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((512, 640), np.uint8), "Y16"),
        (np.zeros((512, 640, 2), np.uint16), "uint16"),
        (np.zeros((512, 640), np.uint16).astype(">u2"), "uint16"),
        (np.zeros((513, 640), np.uint16), "512x640, 256x320, 514x640"),
        (b"\0" * 7, "7 bytes"),
        ([[1]], "list"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_raw_frame_is_refused(raw: Any, message: str) -> None:
    with pytest.raises(sdk.InputError, match=message):
        CAMERAS["boson"].unpack(raw)


@pytest.mark.parametrize(
    "values",
    [
        {"valid_bits": 7},
        {"valid_bits": 14.0},
        {"byte_order": "middle"},
        {"telemetry": "unheard"},
        {"fps": float("nan")},
        {"kelvin_per_count": 0},
        {"pixel_format": "rgb24"},
        {"name": ""},
        {"telemetry": "lepton", "layouts": (RawLayout((9, 8), (0, 8), (0, 8), (8, 9)),)},
    ],
)
def test_profiles_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(sdk.InputError):
        CameraProfile(**{"name": "mine", **values})


@pytest.mark.parametrize("span", [(0, 11), (5, 5), (-1, 4), (6, 2)])
def test_layouts_stay_within_the_raw_frame(span: tuple[int, int]) -> None:
    with pytest.raises(sdk.InputError, match=r"0\.\.10"):
        RawLayout((10, 10), span, (0, 10))


leaves = st.sampled_from(
    [None, True, 0, 14, -3, 1e400, 0.5, "", "big", "lepton", "gray16le", 2**70, [1, 2], [0, 9]]
)
json_values = (
    leaves
    | st.lists(leaves, max_size=3)
    | st.dictionaries(st.sampled_from(["raw", "rows", "columns", "telemetry", "odd"]), leaves, max_size=4)
)
keys = st.sampled_from(
    ["name", "valid_bits", "layouts", "byte_order", "telemetry", "fps", "facts", "kelvin_per_count", "odd"]
)


@settings(deadline=None)
@given(st.dictionaries(keys, json_values | st.lists(json_values, max_size=2), max_size=5))
def test_a_hostile_profile_gives_a_profile_or_one_typed_error(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.json"
    path.write_text(json.dumps({"name": "mine", **values}))
    # Any other kind of error fails the test.
    with contextlib.suppress(sdk.InputError):
        assert isinstance(CameraProfile.load(path), CameraProfile)


def test_files_that_are_no_profile(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"name": "x", "colour": 1}', "[" * 100_000):
        (tmp_path / "p.json").write_text(text)
        with pytest.raises(sdk.InputError, match=r"p\.json"):
            camera_profile(str(tmp_path / "p.json"))
    with pytest.raises(sdk.InputError, match=r"none\.json"):
        camera_profile(str(tmp_path / "none.json"))


def test_a_profile_of_ones_own_may_change_one_thing() -> None:
    moved = replace(
        CAMERAS["boson"], name="mine", layouts=(RawLayout((514, 640), (0, 512), (0, 640), (512, 514)),)
    )
    raw = counted((514, 640), 16)
    assert np.array_equal(moved.unpack(raw)[0], raw[:512])
