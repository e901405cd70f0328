# SPDX-License-Identifier: Apache-2.0
"""Bytes and operations of the launches against worked examples, and what a floor is."""

from __future__ import annotations

import pytest

from pitviper.kernels.conv_block.cost import coarse_cost, conv_block_cost, merge_cost
from pitviper.kernels.cost import Cost, total
from pitviper.kernels.extract_targets.cost import extract_targets_cost
from pitviper.kernels.residual_block.cost import residual_block_cost
from pitviper.kernels.standardise.cost import standardise_cost


def test_a_convolution_by_hand() -> None:
    """10 x 20 pixels, 16 to 32 channels, 3x3: 200 pixels read 16 and write 32 halves."""
    found = conv_block_cost((1, 10, 20, 16), 32)
    weights = 9 * 16 * 32
    assert found == Cost(2 * (200 * 16 + weights) + 4 * 32, 2 * 200 * 32, 2 * 200 * weights)


def test_a_strided_convolution_rounds_its_result_up() -> None:
    found = conv_block_cost((2, 5, 7, 16), 16, stride=2, itemsize=4)
    assert found.bytes_written == 4 * 2 * 3 * 4 * 16
    assert found.operations == 2 * 2 * 3 * 4 * 9 * 16 * 16


def test_an_upsampled_result_is_computed_once_and_written_four_times() -> None:
    found = conv_block_cost((1, 4, 6, 48), 32, kernel=1, upsample=2, addend=True)
    assert found.operations == 2 * 24 * 48 * 32
    assert found.bytes_written == 2 * 96 * 32
    assert found.bytes_read == 2 * (24 * 48 + 48 * 32 + 96 * 32) + 4 * 32


def test_a_head_writes_logits_in_place_of_the_map() -> None:
    plain, head = conv_block_cost((1, 4, 6, 16), 16), conv_block_cost((1, 4, 6, 16), 16, outputs=4)
    assert head.bytes_written == 4 * 24 * 4
    assert head.bytes_read - plain.bytes_read == 4 * 4 * 17
    assert head.operations - plain.operations == 2 * 24 * 4 * 16
    assert coarse_cost((1, 4, 6, 32)).bytes_read == 2 * 24 * 32 + 4 * 4 * 32


def test_a_merge_reads_the_lower_map_and_writes_nothing() -> None:
    found = merge_cost((1, 8, 8, 32), 48)
    assert found.bytes_read == 2 * (16 * 48 + 48 * 32) + 4 * 32
    assert found.bytes_written == 0
    assert merge_cost((1, 8, 8, 32), 48, affine=True).operations > 2 * found.operations - 8 * 8 * 32


def test_a_block_on_the_chip_saves_the_map_between() -> None:
    """Two launches write and read it, and read the shortcut once more: three maps."""
    shape = (1, 64, 80, 32)
    apart = conv_block_cost(shape, 32) + conv_block_cost(shape, 32, addend=True)
    assert apart.bytes_moved - residual_block_cost(shape).bytes_moved == 3 * 2 * 64 * 80 * 32
    assert apart.operations == residual_block_cost(shape).operations


def test_frames_are_read_and_padded_once() -> None:
    found = standardise_cost((500, 640), stride=16)
    assert (found.bytes_read, found.bytes_written) == (2 * 500 * 640, 2 * 512 * 640)
    assert extract_targets_cost((1, 512, 640), itemsize=4, max_targets=10) == Cost(4 * 512 * 640, 480, 0)


def test_a_floor_is_the_slower_of_memory_and_arithmetic() -> None:
    cost = Cost(bytes_read=60_000_000, bytes_written=8_000_000, operations=2_000_000_000)
    assert cost.floor_ms(gigabytes_per_s=68, gigaoperations_per_s=10_000) == pytest.approx(1.0)
    assert cost.floor_ms(gigabytes_per_s=68, gigaoperations_per_s=1_000) == pytest.approx(2.0)
    assert cost.intensity == pytest.approx(2000 / 68)
    assert total([cost, cost]) == cost + cost == Cost(120_000_000, 16_000_000, 4_000_000_000)
    assert Cost().intensity == 0.0


def test_impossible_costs_and_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Cost(bytes_read=-1)
    with pytest.raises(ValueError, match="positive bandwidth"):
        Cost(1, 1, 1).floor_ms(gigabytes_per_s=0, gigaoperations_per_s=1)
