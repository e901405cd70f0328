# SPDX-License-Identifier: Apache-2.0
"""The public names are those that docs/api.md lists, neither more nor fewer."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("core", "kernels", "sdk", "train")
# The command line is documented by its own --help, not by the names of its modules.
NOT_FOR_IMPORT = {"pitviper.sdk.cli"}
SECTION = re.compile(r"^## `(pitviper[\w.]*)`$", re.MULTILINE)
ENTRY = re.compile(r"^- `(\w+)`: \S.*[^.\s]$", re.MULTILINE)


def documented() -> dict[str, list[str]]:
    """Names that docs/api.md lists for each module."""
    parts = SECTION.split((ROOT / "docs" / "api.md").read_text("utf-8"))
    return {name: ENTRY.findall(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def public_packages() -> list[str]:
    """The layers, and the folders directly in core and sdk, that declare names."""
    packages = [f"pitviper.{layer}" for layer in LAYERS]
    for layer in ("core", "sdk"):
        folders = (path.parent for path in (ROOT / layer).glob("*/__init__.py"))
        packages += [f"pitviper.{layer}.{folder.name}" for folder in folders]
    listed = {name for name in packages if getattr(importlib.import_module(name), "__all__", ())}
    return sorted(listed - NOT_FOR_IMPORT)


def test_the_pattern_reads_the_list() -> None:
    assert len(documented()) >= 3
    assert all(documented().values()), "a section of docs/api.md lists no name"


@pytest.mark.parametrize("module", sorted(documented()))
def test_documented_names_are_the_public_ones(module: str) -> None:
    names = documented()[module]
    assert names == sorted(names, key=str.lower), "docs/api.md is in alphabetical order"
    assert set(names) == set(importlib.import_module(module).__all__)


def test_every_public_package_is_documented() -> None:
    assert set(public_packages()) <= set(documented())


@pytest.mark.parametrize("module", sorted(documented()))
def test_public_names_exist_and_say_what_they_are(module: str) -> None:
    loaded = importlib.import_module(module)
    for name in documented()[module]:
        value = getattr(loaded, name)
        if callable(value):
            assert value.__doc__, f"{module}.{name} has no docstring"


def test_every_metric_is_defined_in_the_documentation() -> None:
    result = importlib.import_module("pitviper.core.metrics").MetricsResult
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    names = {field.name for field in dataclasses.fields(result)} - {"curves"}
    assert {name for name in names if f"`{name}`" not in text} == set()
