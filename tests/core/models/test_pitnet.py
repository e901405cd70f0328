# SPDX-License-Identifier: Apache-2.0
"""PitNet's own settings; what it shares with other networks is in test_contract.py."""

from __future__ import annotations

import pytest
import torch

from pitviper.core.models.pitnet import PitNet, PitNetConfig


def test_packed_and_plain_are_the_same_kind_of_map() -> None:
    """Both read and write every pixel: moving a frame by the network's stride moves the logits by it."""
    for packed in (False, True):
        torch.manual_seed(0)
        network = PitNet(
            PitNetConfig(widths=(4, 16, 16), depths=(0, 0, 1), decoder=(1, 1), packed=packed)
        ).eval()
        frame = torch.randn(1, 1, 64, 64)
        moved = torch.roll(frame, (4, 8), dims=(2, 3))
        with torch.inference_mode():
            here, there = network(frame), network(moved)
        inner = slice(28, 36)  # farther from every border than the 26 pixels that a logit sees
        expected = torch.roll(here, (4, 8), dims=(2, 3))[..., inner, inner]
        assert torch.allclose(there[..., inner, inner], expected, atol=1e-5)
        assert here.shape == frame.shape


def test_a_plain_stage_sees_single_pixels() -> None:
    """Each of the four pixels of a 2x2 cell has its own logit."""
    torch.manual_seed(0)
    network = PitNet(PitNetConfig()).eval()
    with torch.inference_mode():
        base = network(torch.zeros(1, 1, 64, 64))
        for row, column in ((32, 32), (32, 33), (33, 32), (33, 33)):
            frame = torch.zeros(1, 1, 64, 64)
            frame[..., row, column] = 5.0
            change = (network(frame) - base).abs()[0, 0]
            assert change[row, column] > 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": (0, 0, 1)}, "depths needs one entry for each"),
        ({"decoder": (1, 1)}, "depths needs one entry for each"),
        ({"widths": (16,), "depths": (0,), "decoder": ()}, "two or more widths"),
        ({"stem": 0}, "stem must be at least 1"),
        ({"packed": True, "depths": (1, 0, 1, 1, 1)}, "a packed stage has no residual blocks"),
    ],
)
def test_refused_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PitNetConfig(**settings)  # type: ignore[arg-type]
