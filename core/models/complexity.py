# SPDX-License-Identifier: Apache-2.0
"""What a network costs: parameters and multiply-adds of its deployed form."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from pitviper.core.models.base import DetectorNetwork


def complexity(network: DetectorNetwork) -> dict[str, float]:
    """Cost of the deployed network on one frame of 256 x 256 pixels, the size that papers state.

    Multiply-adds are those of convolutions and matrix products (half of what PyTorch's FLOP counter says), zeros of
    re-laid kernels included.

    Returns:
        ``parameters`` and ``gmac_256x256`` (1e9 multiply-adds).
    """
    deployed = network.deploy()
    frame = torch.zeros(1, network.in_channels, 256, 256)
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        deployed(frame)
    parameters = sum(p.numel() for p in deployed.parameters())
    return {"parameters": parameters, "gmac_256x256": round(counter.get_total_flops() / 2e9, 4)}
