# SPDX-License-Identifier: Apache-2.0
"""The last layer of a detector: logits that start at the share of target pixels.

Targets are a thousandth of the pixels. A head that starts at probability 0.5 spends its first epochs on lowering all
pixels, by losses to which the targets hardly contribute. Source: Lin et al., "Focal Loss for Dense Object Detection"
(ICCV 2017), section 4.1.
"""

from __future__ import annotations

import math

from torch import nn

TARGET_PRIOR = 0.01
"""Probability of a target that an untrained network gives to a pixel."""


def target_head(channels: int, *, prior: float = TARGET_PRIOR) -> nn.Conv2d:
    """1x1 convolution from [B, channels, H, W] to logits [B, 1, H, W] that start at the prior."""
    return start_at_prior(nn.Conv2d(channels, 1, 1), prior=prior)


def start_at_prior(head: nn.Conv2d, *, prior: float = TARGET_PRIOR) -> nn.Conv2d:
    """Set the bias of a convolution that writes logits, and return it: for one whose weights were drawn afterwards."""
    assert head.bias is not None
    nn.init.constant_(head.bias, math.log(prior / (1 - prior)))
    return head
