# SPDX-License-Identifier: Apache-2.0
"""From a name or a path to a verified weights package. Nothing is ever downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pitviper.core import manifest
from pitviper.core.manifest import Package
from pitviper.kernels import NORMALISATION
from pitviper.sdk.errors import IntegrityError, ModelError, UnsafeWeights

__all__ = ["SHIPPED", "list_models", "open_model"]

SHIPPED: Final = Path(__file__).parent / "weights"
"""Folder of the packages that come with this installation, one folder a model."""


def list_models() -> list[str]:
    """Names of the models that come with this installation, sorted."""
    if not SHIPPED.is_dir():
        return []
    return sorted(entry.name for entry in SHIPPED.iterdir() if (entry / manifest.MANIFEST).is_file())


def open_model(model: str | os.PathLike[str], *, verify: bool = True) -> Package:
    """Read the package of a shipped model, or of one at a path, and check the SHA-256 of each of its files.

    Args:
        model: A name of `list_models`, or the path of a package (a folder, or one zip file).
        verify: False skips the hashes, for tools that look at a damaged package. A detector never does.

    Raises:
        UnsafeWeights: A pickle (.pt, .pth, .pkl, ...): such a file can run code when it is loaded.
        IntegrityError: A file of the package is missing, added or changed; the message names it.
        ModelError: Unknown name, no package, or one made for another version.
    """
    path = _locate(model)
    try:
        package = manifest.read_package(path, verify=verify)
    except manifest.UnsafeWeights as error:
        raise UnsafeWeights(str(error)) from error
    except manifest.IntegrityError as error:
        raise IntegrityError(str(error)) from error
    except manifest.PackageError as error:
        raise ModelError(str(error)) from error
    except (OSError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path}: the package cannot be read ({error!r}); get it again") from error
    found = package.manifest.normalisation
    if found != NORMALISATION:
        raise ModelError(
            f"{path}: trained with normalisation {found!r}, this pitviper computes {NORMALISATION!r}; "
            "install the release that made the package, or train again"
        )
    return package


def _locate(model: str | os.PathLike[str]) -> Path:
    try:
        text = os.fspath(model)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text:
        raise ModelError(f"model must be a name or a path, got {model!r}; shipped models: {_names()}")
    if text in list_models():
        return SHIPPED / text
    path = Path(text)
    if path.suffix.lower() == ".onnx":
        raise ModelError(
            f"{text}: an ONNX file alone does not say how its frames are prepared; "
            f"pass the package folder (with {manifest.MANIFEST}) that holds it"
        )
    pickled = path.suffix.lower() in {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".tar"}
    if path.exists() or pickled:
        return path
    raise ModelError(
        f"unknown model {text!r}: no file or folder has that name; shipped models: {_names()}. "
        "Pass one of them, or the path of a weights package"
    )


def _names() -> str:
    return ", ".join(list_models()) or "none in this installation"
