# SPDX-License-Identifier: Apache-2.0
"""`Variant`: one compiled form of a Triton kernel, as ``aot_variants()`` of each ``triton_impl.py`` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pitviper.kernels.cost import Cost


@dataclass(frozen=True)
class Variant:
    """A kernel with every ``tl.constexpr`` given, and the launch that it is for.

    Attributes:
        operation: The folder of the operation.
        name: What distinguishes it from the operation's other variants, for a person: "3x3, 32 to 32, fp16".
        kernel: The function under ``@triton.jit``.
        signature: Type of each run-time argument in Triton's words: "*fp16", "*fp32", "i32", "fp32".
        constants: Value of each ``tl.constexpr``.
        cost: Floor of the launch that ``launch`` names.
        launch: The shapes of that launch, for a person.
        programs: Programs of that launch, the product of its grid.
        aligned: Arguments that the launcher finds divisible by 16: pointers, and strides where they are.
        num_warps: Warps of a program.
        num_stages: Depth of the pipeline that prefetches the operands of a loop.
        quick: Compiled in every run of the tests; the others with the whole set.
    """

    operation: str
    name: str
    kernel: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    cost: Cost
    launch: str
    programs: int
    aligned: tuple[str, ...] = ()
    num_warps: int = 4
    num_stages: int = 3
    quick: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        both = set(self.signature) & set(self.constants)
        unknown = set(self.aligned) - set(self.signature)
        if both or unknown:
            raise ValueError(
                f"{self.operation} {self.name}: {sorted(both)} are both argument and constant, and "
                f"{sorted(unknown)} are named as aligned without being arguments"
            )
