# SPDX-License-Identifier: Apache-2.0
"""The backends that run the operations, and which of them this installation has.

A backend asked for by name runs or raises. Only ``"auto"`` chooses, and when the installation lacks a faster one
it says so once in the log.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from pitviper.kernels import native
from pitviper.kernels.errors import BackendUnavailable

BackendName = Literal["cuda", "triton", "torch", "host", "numpy"]
BackendChoice = Literal["auto", "cuda", "triton", "torch", "host", "numpy"]
PREFERENCE: Final[Mapping[str, tuple[BackendName, ...]]] = MappingProxyType(
    {
        "affine_modulate": ("triton", "cuda", "torch", "host"),
        "conv_block": ("numpy", "host"),
        "conv_block_tensors": ("triton", "torch"),
        "extract_targets": ("host", "numpy", "cuda"),
        "residual_block": ("numpy", "host"),
        "samf_fuse": ("triton", "cuda", "torch", "host"),
        "standardise": ("host", "numpy", "cuda"),
    }
)
"""The backends of each operation, in the order that ``"auto"`` tries. ``cuda`` and ``host`` are compiled CUDA and
C++, ``triton`` is compiled on first use, ``torch`` and ``numpy`` run the definition itself. On frames in host memory
``cuda`` stands last: it copies there and back, so ``"auto"`` never takes it. Where ``host`` stands last it is the body
of the GPU's kernel, there to be tested."""

_LOG = logging.getLogger("pitviper.kernels")
_NONE: Final[Mapping[BackendName, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Backend:
    """One backend, and the reason why it cannot run (empty when it can)."""

    name: BackendName
    reason: str = ""

    @property
    def available(self) -> bool:
        """Whether operations can run on it here."""
        return not self.reason


def available_backends(operation: str = "standardise") -> tuple[Backend, ...]:
    """The backends of an operation in the order that ``"auto"`` prefers, those that cannot run with their reason.

    Args:
        operation: key of `PREFERENCE`. The operations on frames have the same backends.

    Raises:
        ValueError: no operation has that name.

    Example:
        >>> " ".join(backend.name for backend in available_backends())
        'host numpy cuda'
        >>> " ".join(backend.name for backend in available_backends("samf_fuse"))
        'triton cuda torch host'
    """
    return tuple(Backend(name, _PROBES[name]()) for name in _names(operation))


def resolve(
    choice: str, operation: str = "standardise", *, refused: Mapping[BackendName, str] = _NONE
) -> BackendName:
    """The backend that runs for ``choice``.

    Args:
        operation: key of `PREFERENCE`.
        refused: backends that cannot take these very arguments, each with its reason. ``"auto"`` passes over them
            without a warning: nothing that could be installed would change it.

    Raises:
        ValueError: no operation, or no backend of the operation, has that name.
        BackendUnavailable: a backend was asked for by name and cannot run (`NativeUnavailable` for compiled code).
    """
    if choice == "auto":
        return _automatic(operation, tuple(sorted(refused.items())))
    for name in _names(operation):
        if name == choice:
            reason = refused.get(name) or _PROBES[name]()
            if reason:
                compiled = name in ("cuda", "host") and name not in refused
                error = native.NativeUnavailable if compiled else BackendUnavailable
                raise error(f"backend '{choice}' cannot run: {reason}")
            return name
    known = ", ".join(map(repr, _names(operation)))
    raise ValueError(f"unknown backend {choice!r}; there are 'auto', {known}")


@functools.cache
def _automatic(operation: str, refused: tuple[tuple[BackendName, str], ...]) -> BackendName:
    unfit = dict(refused)
    missing: list[str] = []
    for name in _names(operation):
        if name in unfit:
            continue
        reason = _PROBES[name]()
        if not reason:
            for passed_over in missing:
                _LOG.warning("kernels run on the backend '%s', not on a preferred one: %s", name, passed_over)
            _LOG.info("%s runs on the backend '%s'", operation, name)
            return name
        missing.append(reason)
    raise BackendUnavailable(
        f"no backend can run {operation} here: " + "; ".join([*unfit.values(), *missing])
    )


def _names(operation: str) -> tuple[BackendName, ...]:
    try:
        return PREFERENCE[operation]
    except KeyError:
        raise ValueError(f"unknown operation {operation!r}; there are {', '.join(PREFERENCE)}") from None


def interpreting() -> bool:
    """Whether Triton kernels run on the CPU, one program after another: for tests, slower than anything else."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _torch_reason() -> str:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed; pip install 'pitviper[torch]'"
    return ""


def _triton_reason() -> str:
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; pip install 'pitviper[triton]'"
    if _torch_reason() or interpreting():
        return _torch_reason()
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device, for which Triton compiles"
    return ""


_PROBES: Final[Mapping[BackendName, Callable[[], str]]] = MappingProxyType(
    {
        "cuda": lambda: native.cuda_missing_reason(),
        "host": lambda: native.missing_reason(),
        "numpy": lambda: "",
        "torch": _torch_reason,
        "triton": _triton_reason,
    }
)
"""Says why a backend cannot run in this installation; a new backend gets its line here."""
