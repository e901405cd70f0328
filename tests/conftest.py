# SPDX-License-Identifier: Apache-2.0
"""What every test may rely on: the checkout's root, a compiled module where one is required, Triton without a GPU."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _has_gpu() -> bool:
    """Whether torch can use a GPU; torch is asked, which takes seconds, only where there is a driver."""
    if not any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/nvmap")):
        return False
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


# Triton reads it where kernels are defined, its own among them: so before anything imports Triton.
if not _has_gpu():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run when PITVIPER_REQUIRE_NATIVE=1 and the compiled module is absent or broken.

    Without it every operation falls back to NumPy and the suite stays green while the C++ code is not tested.
    """
    if os.environ.get("PITVIPER_REQUIRE_NATIVE") != "1":
        return
    try:
        importlib.import_module("pitviper.kernels._native")
    except ImportError as reason:
        raise pytest.UsageError(
            f"PITVIPER_REQUIRE_NATIVE=1, but pitviper.kernels._native cannot be imported ({reason}). "
            "Reinstall with a C++17 compiler at hand: `make test`, or `pip install .`"
        ) from reason


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the checkout: what the wheel leaves out (examples, docs, the Makefile) is read from there."""
    return ROOT


@pytest.fixture
def disk_of() -> Callable[[int], AbstractContextManager[None]]:
    """``with disk_of(size):`` no file of this process grows beyond ``size`` bytes.

    The write across the border is done in part and the next fails with EFBIG: the system's own call, as on a full disk.
    """
    resource = pytest.importorskip("resource", reason="limits on files are set through Unix's setrlimit")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)

    return limited
