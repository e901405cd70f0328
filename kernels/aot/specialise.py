# SPDX-License-Identifier: Apache-2.0
"""What Triton's launcher makes of the values of a call: the form of a kernel that is compiled for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def specialise(
    kernel: Any, values: Sequence[int | float | str | None]
) -> tuple[dict[str, str], dict[str, int | None], tuple[str, ...]]:
    """Signature, constants and aligned arguments, as `Variant` takes them.

    Args:
        kernel: the function under ``@triton.jit``.
        values: its run-time arguments in order; a pointer is its type ("*fp16"), aligned as torch allocates it, or
            None.

    Returns:
        The types of the arguments that stay; those that become constants (None, and 1, whose multiplications
        fall away); and the names of those that are divisible by 16.
    """
    signature: dict[str, str] = {}
    constants: dict[str, int | None] = {}
    aligned = []
    for name, value in zip(kernel.arg_names, values, strict=False):
        if value is None or (value == 1 and isinstance(value, int)):
            constants[name] = value
            continue
        if isinstance(value, int):
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
        else:
            signature[name] = value if isinstance(value, str) else "fp32"
        if isinstance(value, str) or (isinstance(value, int) and value % 16 == 0):
            aligned.append(name)
    return signature, constants, tuple(aligned)
