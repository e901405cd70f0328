# SPDX-License-Identifier: Apache-2.0
"""What the convolution of tensors refuses, in words that name the argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pitviper.kernels.conv_block.reference import Convolution, Head  # noqa: E402 (after the check for torch)
from pitviper.kernels.conv_block.torch_op import conv_block_tensors  # noqa: E402


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": torch.zeros(1, 16, 4, 6, dtype=torch.float64)}, TypeError, "float64"),
        ({"x": torch.zeros(1, 16, 4, 6, dtype=torch.int32)}, TypeError, "int32"),
        ({"x": np.zeros((1, 16, 4, 6), np.float32)}, TypeError, "ndarray"),
        ({"x": torch.zeros(16, 4, 6)}, ValueError, r"\[B, C, H, W\]"),
        ({"x": torch.zeros(1, 16, 0, 6)}, ValueError, "pixel or more"),
        ({"x": torch.zeros(1, 17, 4, 6)}, ValueError, "17 channels and the weight reads 16"),
        ({"weight": torch.zeros(8, 16, 5, 5)}, ValueError, "k 1 or 3"),
        ({"weight": torch.zeros(8, 16, 3, 1)}, ValueError, "k 1 or 3"),
        ({"weight": np.zeros((8, 16, 3, 3), np.float32)}, TypeError, "weight must be a tensor"),
        ({"weight": torch.zeros(8, 4, 3, 3), "x": torch.zeros(1, 1, 5, 6)}, ValueError, "even sides"),
        ({"bias": torch.zeros(9)}, ValueError, r"bias must be \[8\]"),
        ({"bias": torch.zeros(8, device="meta")}, ValueError, "meta"),
        ({"stride": 3}, ValueError, "stride and upsample"),
        ({"upsample": 2}, ValueError, "only a 1x1"),
        ({"residual": torch.zeros(1, 8, 4, 7)}, ValueError, r"residual must be \[1, 8, 4, 6\]"),
        ({"residual": torch.zeros(1, 8, 4, 6).half()}, TypeError, "residual must have the dtype of x"),
        ({"head": (torch.zeros(2, 8), torch.zeros(2))}, ValueError, r"\[1 or 4, 8\]"),
        ({"head": (torch.zeros(4, 8), torch.zeros(3))}, ValueError, "head's bias"),
        ({"head": (torch.zeros(4, 8), torch.zeros(4), torch.zeros(1, 5, 2, 3))}, ValueError, "together"),
        (
            {"head": (torch.zeros(4, 8), torch.zeros(4), torch.zeros(1, 5, 2, 3), torch.zeros(4, 5))},
            ValueError,
            r"coarse must be \[1, 5, 4, 6\]",
        ),
        ({"backend": "tritn"}, ValueError, "unknown backend"),
        ({"backend": "host"}, ValueError, "unknown backend"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {
        "x": torch.zeros(1, 16, 4, 6),
        "weight": torch.zeros(8, 16, 3, 3),
        "bias": torch.zeros(8),
        "stride": 1,
        "upsample": 1,
        "residual": None,
        "head": None,
        "backend": "torch",
    } | changes
    head = given["head"]
    convolution = Convolution(
        given["weight"], given["bias"], stride=given["stride"], upsample=given["upsample"]
    )
    with pytest.raises(error, match=message):
        conv_block_tensors(
            given["x"],
            convolution,
            residual=given["residual"],
            head=None if head is None else Head(*head),
            backend=given["backend"],
        )
