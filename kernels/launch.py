# SPDX-License-Identifier: Apache-2.0
"""`Launch`: a Triton kernel with the values of one call, to run it or to state the form that is compiled for it.

So what is compiled ahead of time and examined is what the launcher asks for, and not a list beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pitviper.kernels import planes
from pitviper.kernels.aot import Variant
from pitviper.kernels.cost import Cost

if TYPE_CHECKING:
    from torch import Tensor

_POINTERS: Final = {"torch.float16": "*fp16", "torch.bfloat16": "*bf16", "torch.float32": "*fp32"}
_ALIGNED: Final = 16
_INT32: Final = 2**31


@dataclass(frozen=True)
class Launch:
    """One call of a kernel.

    Attributes:
        kernel: the function under ``@triton.jit``.
        programs: programs of the one-dimensional grid, at least 1.
        values: its run-time arguments, in order: tensors (None where there is none), integers and floats.
        constants: value of each ``tl.constexpr``.
        num_warps: warps of a program.
        num_stages: depth of the pipeline that prefetches the operands of a loop.
    """

    kernel: Any
    programs: int
    values: Sequence[Any]
    constants: Mapping[str, int | bool | str]
    num_warps: int = 4
    num_stages: int = 3

    def run(self, beside: Tensor) -> None:
        """Launch on the device of the tensor ``beside``."""
        with planes.on_device(beside):
            self.kernel[(self.programs,)](
                *self.values, **self.constants, num_warps=self.num_warps, num_stages=self.num_stages
            )

    def variant(self, operation: str, name: str, cost: Cost, *, shapes: str, quick: bool = False) -> Variant:
        """What Triton's launcher compiles for this call. The tensors may be on the meta device.

        None and the integer 1 become constants, and arguments divisible by 16 are noted.

        Args:
            operation: the folder of the operation.
            name: what distinguishes the variant.
            shapes: those of the call, for a person.
        """
        signature: dict[str, str] = {}
        constants: dict[str, Any] = dict(self.constants)
        aligned = []
        for argument, value in zip(self.kernel.arg_names, self.values, strict=False):
            if value is None or (isinstance(value, int) and value == 1):
                constants[argument] = value
            elif isinstance(value, float):
                signature[argument] = "fp32"
            elif isinstance(value, int):
                signature[argument] = "i32" if -_INT32 <= value < _INT32 else "i64"
                if value % _ALIGNED == 0:
                    aligned.append(argument)
            else:
                signature[argument] = _POINTERS[str(value.dtype)]
                # Memory of torch begins at a multiple of 16 bytes; a view of it need not.
                if value.storage_offset() * value.element_size() % _ALIGNED == 0:
                    aligned.append(argument)
        return Variant(
            operation,
            name,
            self.kernel,
            signature,
            constants,
            cost,
            shapes,
            self.programs,
            tuple(aligned),
            self.num_warps,
            self.num_stages,
            quick=quick,
        )
