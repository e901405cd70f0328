# SPDX-License-Identifier: Apache-2.0
"""Each operation has its own backends; a choice by name is kept or refused, and ``auto`` says what it passed over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import MappingProxyType

import pytest

from pitviper.kernels import BackendUnavailable, NativeUnavailable, available_backends, registry


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Reasons by backend, in place of what this machine has; to be filled by the test."""
    reasons: dict[str, str] = {}
    fake = {name: lambda name=name: reasons.get(name, "") for name in registry._PROBES}
    monkeypatch.setattr(registry, "_PROBES", MappingProxyType(fake))
    registry._automatic.cache_clear()
    yield reasons
    registry._automatic.cache_clear()


@pytest.mark.parametrize("operation", list(registry.PREFERENCE))
def test_every_backend_of_every_operation_is_probed(operation: str) -> None:
    names = [backend.name for backend in available_backends(operation)]
    assert names == list(registry.PREFERENCE[operation])
    assert len(set(names)) == len(names)


def test_auto_prefers_the_first_that_can_run(probes: dict[str, str]) -> None:
    assert registry.resolve("auto", "conv_block_tensors") == "triton"


def test_auto_warns_once_of_what_is_missing(probes: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    probes["triton"] = "triton is not installed"
    with caplog.at_level(logging.INFO, logger="pitviper.kernels"):
        assert [registry.resolve("auto", "conv_block_tensors") for _ in range(3)] == ["torch"] * 3
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "kernels run on the backend 'torch', not on a preferred one: triton is not installed"),
        ("INFO", "conv_block_tensors runs on the backend 'torch'"),
    ]


def test_auto_does_not_warn_of_what_cannot_take_the_arguments(
    probes: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="pitviper.kernels"):
        assert (
            registry.resolve("auto", "conv_block_tensors", refused={"triton": "the tensors are on cpu"})
            == "torch"
        )
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_auto_with_nothing_left_gives_every_reason(probes: dict[str, str]) -> None:
    probes["torch"] = "torch is not installed"
    with pytest.raises(BackendUnavailable, match="conv_block_tensors here: float64; torch is not installed"):
        registry.resolve("auto", "conv_block_tensors", refused={"triton": "float64"})


def test_by_name_it_runs_or_raises(probes: dict[str, str]) -> None:
    assert registry.resolve("torch", "conv_block_tensors") == "torch"
    probes["triton"] = "no CUDA device"
    with pytest.raises(BackendUnavailable, match="backend 'triton' cannot run: no CUDA device"):
        registry.resolve("triton", "conv_block_tensors")
    probes["host"] = "not built"
    with pytest.raises(NativeUnavailable, match="backend 'host' cannot run: not built"):
        registry.resolve("host")


def test_unknown_operation() -> None:
    with pytest.raises(ValueError, match="unknown operation 'resize'; there are affine_modulate"):
        registry.resolve("torch", "resize")
