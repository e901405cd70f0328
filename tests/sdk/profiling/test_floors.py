# SPDX-License-Identifier: Apache-2.0
"""Floors: every map counted once, the arithmetic of the network, and the issue's bound on the smallest board."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pitviper import sdk
from pitviper.core.plan import build_plan
from pitviper.sdk.boards import BOARDS
from pitviper.sdk.profiling.floors import launch_costs, static_report

SHAPE = (512, 640)


def test_a_frame_of_the_default_model_fits_under_the_bound_on_the_smallest_board() -> None:
    report = static_report(sdk.open_model("pit-s"), BOARDS["orin-nano"], SHAPE)
    total = sum(launch.floor_ms for launch in report)
    assert 0.5 < total < 1.5
    assert (report[0].name, report[-1].name) == ("standardise", "extract_targets")


@pytest.mark.parametrize("name", ["pit-n", "pit-s"])
def test_the_arithmetic_is_that_of_the_network(name: str) -> None:
    package = sdk.open_model(name)
    costs = launch_costs(build_plan(package), (256, 256))
    counted = [cost.operations for each, cost in costs if "conv" in each or "residual" in each]
    stated = 1e9 * package.manifest.architecture["deployed"]["gmac_256x256"]
    # Maps have multiples of 16 channels in a plan, and all of these networks have; nothing else may be added or lost.
    assert sum(counted) / 2 == pytest.approx(stated, rel=0.02)


def test_maps_are_counted_once_and_what_stays_on_the_chip_not_at_all() -> None:
    plan = build_plan(sdk.open_model("pit-n"))
    *_, (name, last), _ = launch_costs(plan, SHAPE)
    assert name == "merge + conv 3x3 + head 16->16 320x256"
    maps = 256 * 320 * 16 * 2
    logits = 512 * 640 * 4
    weights = 2 * (9 * 16 * 16 + 16 * 16) + 4 * (4 * 16 + 4 * 16)
    biases = 4 * (16 + 16 + 4)
    # Two maps are read, though one of them is needed twice, and no map is written.
    assert last.bytes_moved == 2 * maps + logits + weights + biases
    assert last.bytes_written == logits


def test_an_odd_frame_is_counted_as_it_is_padded() -> None:
    plan = build_plan(sdk.open_model("pit-s"))
    odd, padded = (dict(launch_costs(plan, shape)) for shape in ((497, 625), SHAPE))
    assert set(odd) == set(padded)
    assert all(odd[name] == padded[name] for name in odd if name not in ("standardise", "extract_targets"))


def test_halves_of_the_bytes_in_twice_the_precision() -> None:
    plan = build_plan(sdk.open_model("pit-n"))
    half, full = (dict(launch_costs(plan, SHAPE, itemsize=size)) for size in (2, 4))
    name = "residual 32->32 160x128"
    assert full[name].bytes_moved / half[name].bytes_moved == pytest.approx(2, rel=1e-3)
    assert full[name].operations == half[name].operations


@pytest.mark.parametrize(
    ("name", "sparse_int8_tops"), [("orin-nano", 40), ("orin-nx", 60), ("agx-orin", 170), ("thor", 1035)]
)
def test_rates_are_those_of_the_data_sheet(name: str, sparse_int8_tops: float) -> None:
    """Sparse int8 (fp8 on Thor) is four times dense fp16; the DLAs of NX and AGX are left out (100 - 40, 275 - 105)."""
    assert 4 * BOARDS[name].gigaoperations_per_s / 1e3 == pytest.approx(sparse_int8_tops, rel=0.03)
    assert "NVIDIA" in BOARDS[name].source


def test_the_floor_is_the_longer_of_memory_and_arithmetic() -> None:
    slow = replace(BOARDS["orin-nano"], gpu_ghz=1e-3)
    package = sdk.open_model("pit-n")
    for fast, bound in zip(
        static_report(package, BOARDS["thor"], SHAPE), static_report(package, slow, SHAPE), strict=True
    ):
        assert fast.bound == "memory" or fast.cost.intensity > 900
        if bound.cost.operations > 1e6:
            assert bound.bound == "arithmetic"
            assert bound.floor_ms == pytest.approx(bound.cost.operations / slow.gigaoperations_per_s / 1e6)


def test_a_network_without_a_plan_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    package = sdk.open_model("pit-n")
    monkeypatch.setitem(package._bytes, "network.onnx", b"not a network")
    with pytest.raises(sdk.EngineUnavailable, match="no floor on a board"):
        static_report(package, BOARDS["thor"], SHAPE)
