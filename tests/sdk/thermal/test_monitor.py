# SPDX-License-Identifier: Apache-2.0
"""The monitor on clean and on faulty sequences of every clutter, and what it does to results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.synthetic import CLUTTERS
from pitviper.sdk.thermal import FLAGS, ThermalMonitor

Frames = NDArray[Any]
Sequence = Callable[..., NDArray[np.uint16]]
SHAPE = (96, 128)
START = 24
"""Frame at which each fault begins: late enough for every running median to be known."""


def watch(frames: Frames, **values: Any) -> list[tuple[str, ...]]:
    monitor = ThermalMonitor(pixel_samples=8, **values)
    return [monitor.observe(frame).flags for frame in frames]


def with_fault(frames: Frames, fault: str) -> Frames:
    """A copy with a fault in it from frame `START` on."""
    made = frames.copy()
    rest = made[START:]
    if fault == "frozen":
        made[START : START + 12] = made[START - 1]
    elif fault == "jump":
        rest += 40
    elif fault == "pattern":
        rest += np.random.default_rng(0).integers(0, 120, SHAPE).astype(np.uint16)
    elif fault == "shutter":
        blade = np.random.default_rng(0).normal(7000, 5, (8, *SHAPE))
        made[START : START + 8] = blade.astype(np.uint16)
    elif fault == "saturated":
        level = np.percentile(rest, 95)
        np.minimum(rest, np.uint16(level), out=rest)
    elif fault == "stretched":
        low, high = (np.percentile(rest, q, axis=(1, 2), keepdims=True) for q in (1, 99))
        rest[:] = np.clip((rest - low) / (high - low), 0, 1) * 65535
    elif fault == "eight bits":
        rest >>= 6
    elif fault == "swapped":
        made = made.byteswap()
    return made


@pytest.mark.parametrize("clutter", CLUTTERS)
@pytest.mark.parametrize(
    "values", [{}, {"contrast": 3.0, "noise_counts": 1.5}, {"contrast": 0.3, "noise_counts": 8.0}]
)
def test_clean_scenes_raise_no_flag(sequence: Sequence, clutter: str, values: dict[str, float]) -> None:
    assert set(watch(sequence(clutter, **values))) == {()}


@pytest.mark.parametrize("clutter", CLUTTERS)
@pytest.mark.parametrize(
    ("fault", "flag", "within"),
    [
        ("frozen", "frozen", 1),
        ("frozen", "ffc_suspected", 2),
        ("jump", "jump", 1),
        ("pattern", "jump", 1),
        ("shutter", "ffc_suspected", 1),
        ("saturated", "saturated", 1),
        ("stretched", "agc_suspected", 16),
        ("eight bits", "agc_suspected", 1),
    ],
)
def test_each_fault_is_flagged_within_the_stated_frames(
    sequence: Sequence, clutter: str, fault: str, flag: str, within: int
) -> None:
    seen = watch(with_fault(sequence(clutter), fault))
    assert set(seen[:START]) == {()}
    assert any(flag in flags for flags in seen[START : START + within])


@pytest.mark.parametrize("clutter", CLUTTERS)
def test_swapped_bytes_are_flagged_in_the_first_frame(sequence: Sequence, clutter: str) -> None:
    frames = with_fault(sequence(clutter, contrast=3.0), "swapped")
    assert all("byte_order_suspected" in flags for flags in watch(frames))


def test_the_end_of_a_freeze_counts_as_correction(sequence: Sequence) -> None:
    frames = with_fault(sequence("cloud"), "frozen")
    frames[START + 12 :] += 60
    seen = watch(frames)
    assert seen[START + 11] == ("ffc_suspected", "frozen")
    assert seen[START + 12] == ("ffc_suspected", "jump")
    assert seen[START + 13] == ()


def test_key_frames_of_a_codec_are_no_jumps(sequence: Sequence) -> None:
    """Between key frames a codec repeats most of the noise; a key frame renews it all."""
    frames = sequence("sky")[:48].copy()
    rng = np.random.default_rng(0)
    for index in range(1, 48):
        if index % 12:
            frames[index] = (frames[index - 1] + rng.integers(-1, 2, SHAPE)).astype(np.uint16)
    monitor, lossy = ThermalMonitor(), ThermalMonitor()
    assert "jump" in {flag for frame in frames for flag in monitor.observe(frame).flags}
    assert {lossy.observe(frame, ("lossy",)).flags for frame in frames} == {()}
    assert "jump" in lossy.observe(frames[-1] + np.uint16(60), ("lossy",)).flags


def test_one_repeated_frame_is_no_correction(sequence: Sequence) -> None:
    frames = sequence("sea").copy()
    frames[30] = frames[29]
    seen = watch(frames)
    assert seen[30] == ("frozen",)
    assert seen[31] == ()


def test_a_new_scene_becomes_the_normal_one(sequence: Sequence) -> None:
    frames = np.concatenate(
        [sequence("cloud", contrast=3.0), sequence("sky", contrast=0.3, noise_counts=2.0)]
    )
    seen = watch(frames)
    assert "jump" in seen[72]
    assert set(seen[-30:]) == {()}


@settings(deadline=None, max_examples=12)
@given(
    gain=st.sampled_from([0.25, 0.5, 2.0, 3.0, 7.0]),
    offset=st.integers(-2000, 9000),
    fault=st.sampled_from(["", "frozen", "jump", "pattern", "shutter", "saturated", "stretched"]),
    clutter=st.sampled_from(CLUTTERS),
)
def test_gain_and_offset_change_no_decision(
    sequence: Sequence, gain: float, offset: int, fault: str, clutter: str
) -> None:
    frames = with_fault(sequence(clutter, frames=48), fault)
    # Exact in float32: counts of up to 16 bits times a number of few bits.
    moved = frames.astype(np.float32) * np.float32(gain) + np.float32(offset)
    assert watch(moved) == watch(frames)


@pytest.mark.parametrize("gain", [2, 4])
def test_gain_and_offset_in_whole_counts_change_no_decision(sequence: Sequence, gain: int) -> None:
    frames = with_fault(sequence("terrain"), "jump")
    moved = (frames.astype(np.int64) * gain + 77).astype(np.uint16)
    assert watch(moved) == watch(frames)


def test_the_camera_tells_where_it_clips(sequence: Sequence) -> None:
    frames = sequence("sky").copy()
    frames[10:, 40:44, 40:44] = 16383
    assert "saturated" in watch(frames, camera="tau")[10]
    with pytest.raises(sdk.InputError, match="boson, lepton"):
        ThermalMonitor("nothing")


def test_a_point_target_at_the_rail_is_no_saturation(sequence: Sequence) -> None:
    frames = sequence("sky").copy()
    frames[10:, 40:43, 40:43] = 16383
    assert "saturated" not in watch(frames, camera="tau")[20]


def test_dead_pixels_at_both_rails_are_no_gain_control(sequence: Sequence) -> None:
    frames = sequence("cloud").copy()
    frames[:, 10, 10], frames[:, 20, 20] = 0, 16383
    assert set(watch(frames)) == {()}


def test_a_change_of_size_starts_anew(sequence: Sequence) -> None:
    monitor = ThermalMonitor()
    first, second = sequence("sea")[0], sequence("sea")[1][:64, :64]
    assert monitor.observe(first).flags == ()
    assert monitor.observe(second).flags == ("shape_changed",)
    assert monitor.observe(second).flags == ("frozen",)


def test_colour_is_suspected_of_a_palette(sequence: Sequence) -> None:
    monitor = ThermalMonitor()
    frame = (sequence("sea")[0] >> 6).astype(np.uint8)
    assert monitor.observe(frame, ("lossy", "colour_ignored")).flags == ("palette_suspected",)


def test_the_frame_is_not_written_to_and_not_kept(sequence: Sequence) -> None:
    monitor = ThermalMonitor()
    shared = sequence("sea")[0].copy()
    kept = shared.copy()
    monitor.observe(shared)
    assert np.array_equal(shared, kept)
    # A camera that reuses its memory must not look frozen.
    shared[:] = sequence("sea")[1]
    assert monitor.observe(shared).flags == ()


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(sdk.InputError):
        ThermalMonitor().observe(np.zeros((8, 8), np.uint16))
    with pytest.raises(sdk.InputError, match="flag, remove"):
        ThermalMonitor(bad_pixels="hide")
    with pytest.raises(sdk.InputError, match="samples"):
        ThermalMonitor(pixel_samples=3)


def test_flags_have_a_meaning_each(sequence: Sequence) -> None:
    raised = {
        flag
        for fault in ("frozen", "jump", "saturated")
        for seen in watch(with_fault(sequence("sky"), fault))
        for flag in seen
    }
    assert raised <= set(FLAGS)


@pytest.fixture
def taught(sequence: Sequence) -> Callable[[str], ThermalMonitor]:
    """A monitor that has learned one hot pixel at row 40, column 60."""

    def make(policy: str) -> ThermalMonitor:
        frames = sequence("cloud").copy()
        frames[:, 40, 60] += 400
        monitor = ThermalMonitor(bad_pixels=policy, pixel_samples=8)
        for frame in frames:
            monitor.observe(frame)
        assert monitor.stats.bad_px == 1 == monitor.pixel_map.bad.sum()
        assert monitor.stats.frames_needed == 0
        return monitor

    return make


def detections(*xy: tuple[float, float], area: int = 1) -> sdk.Detections:
    count = len(xy)
    boxes = [(x - 0.5, y - 0.5, x + 0.5, y + 0.5) for x, y in xy]
    return sdk.Detections(
        xy=np.array(xy), xyxy=np.array(boxes), score=np.full(count, 0.9), mean=np.full(count, 0.8),
        area_px=np.full(count, area), snr=np.ones(count), shape=SHAPE,
    )  # fmt: skip


def test_targets_on_bad_pixels_are_marked_and_kept(taught: Callable[[str], ThermalMonitor]) -> None:
    monitor = taught("flag")
    found = monitor.mark(detections((60.5, 40.5), (61.4, 41.4), (63.5, 40.5), (10.5, 10.5)))
    assert found.bad_pixel.tolist() == [True, True, False, False]
    assert found.flags == ("bad_pixel_target",)
    assert [target.bad_pixel for target in found] == [True, True, False, False]
    assert found.to_dict()["targets"][0]["bad_pixel"] is True
    assert found[found.bad_pixel].bad_pixel.all()
    clean = detections((10.5, 10.5))
    assert monitor.mark(clean) is clean
    large = detections((60.5, 40.5), area=60)
    assert monitor.mark(large) is large


def test_targets_on_bad_pixels_are_removed_when_asked_and_counted(
    taught: Callable[[str], ThermalMonitor],
) -> None:
    monitor = taught("remove")
    found = monitor.mark(detections((60.5, 40.5), (10.5, 10.5)))
    assert found.xy.tolist() == [[10.5, 10.5]]
    assert found.flags == ("bad_pixel_removed",)
    assert monitor.stats.removed == 1
    assert monitor.stats.flags["bad_pixel_removed"] == 1


def test_detections_of_another_size_are_refused(taught: Callable[[str], ThermalMonitor]) -> None:
    with pytest.raises(sdk.InputError, match="last saw"):
        taught("flag").mark(sdk.Detections.empty((32, 32)))


def test_a_stream_carries_the_flags_to_its_results(
    sequence: Sequence, make_detector: Callable[..., sdk.Detector]
) -> None:
    frames = sequence("cloud").copy()
    frames[:, 40, 60] += 900
    frames[70] = frames[69]
    monitor = ThermalMonitor(pixel_samples=8)
    with make_detector() as detector, detector.stream(frames, monitor=monitor) as stream:
        results = list(stream)
    assert results[70].flags == ("bad_pixel_target", "frozen")
    assert "bad_pixel_target" in results[71].flags
    assert results[0].flags == ()
    assert stream.stats.processed == monitor.stats.frames == 72
    assert monitor.stats.to_dict()["flags"]["frozen"] == 1
    assert monitor.stats.time_ms is not None
    assert all(len(found) for found in results), "the hot pixel is a target in every frame"
