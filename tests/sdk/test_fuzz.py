# SPDX-License-Identifier: Apache-2.0
"""Hostile bytes for every parser, a few thousand from a fixed seed; benchmarks/fuzz.py runs a million."""

from __future__ import annotations

import importlib
import time
from types import ModuleType

import pytest

from pitviper import sdk

SHARE = 200


@pytest.fixture
def fuzz(root: object, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(f"{root}/benchmarks")
    return importlib.import_module("fuzz")


def test_every_parser_refuses_with_its_own_errors(fuzz: ModuleType) -> None:
    found = fuzz.run(SHARE * len(fuzz.TARGETS), seed=3)
    assert len(found) >= 12
    for name, result in found.items():
        assert result["failures"] == 0, f"{name}: {result['first_failure']}"
        assert result["inputs"] == SHARE
        assert result["outcomes"].get("accepted", 0) > 0, f"{name}: not even a right input passes"


def test_what_must_not_happen_is_noticed(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(data: bytes) -> None:
        if len(data) == 3:
            raise ZeroDivisionError

    def hang(data: bytes) -> None:
        # A loop that never ends: only the alarm gets out of it.
        while True:
            time.monotonic()

    monkeypatch.setattr(fuzz, "LIMIT_S", 0.02)
    targets = {
        "crash": fuzz.Target((b"abc",), crash, (sdk.SdkError,)),
        "hang": fuzz.Target((b"abc",), hang, (sdk.SdkError,)),
    }
    monkeypatch.setattr(fuzz, "TARGETS", targets)
    found = fuzz.run(2, seed=0)
    assert found["crash"]["failures"] == 1
    assert "ZeroDivisionError" in found["crash"]["first_failure"]["error"]
    assert found["crash"]["first_failure"]["input"] == b"abc".hex()
    assert "TooLong" in found["hang"]["first_failure"]["error"]


def test_the_inputs_follow_from_the_seed(fuzz: ModuleType) -> None:
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        fuzz.attack("x", fuzz.Target((b"abcdefgh",), seen.append, ()), 60, seed)
        return seen

    once, again, other = inputs(5), inputs(5), inputs(6)
    assert len(once) == 60
    assert once == again != other
