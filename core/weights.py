# SPDX-License-Identifier: Apache-2.0
"""Writing weights packages and loading networks from them. Needs torch and safetensors; writing needs onnx as well."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

from safetensors.torch import load, save

from pitviper.core.export import detector_onnx, network_onnx
from pitviper.core.manifest import (
    DETECTOR_ONNX,
    MANIFEST,
    NETWORK_ONNX,
    WEIGHTS,
    Manifest,
    Package,
    PackageError,
    file_record,
    read_package,
)
from pitviper.core.models import DetectorNetwork, complexity, create_model
from pitviper.kernels import NORMALISATION


def write_package(path: str | Path, network: DetectorNetwork, manifest: Manifest) -> Package:
    """Write a package for a network in training form and read it back.

    Args:
        path: Folder to make (replaced when it is a package already), or a file ending in ``.zip``
            (replaced likewise).
        network: Its weights are stored in training form; both ONNX files hold its deployed form.
        manifest: Description; its ``files``, ``normalisation`` and ``stride`` are filled in here.

    Raises:
        PackageError: ``path`` exists and is no weights package.
    """
    path = Path(path)
    inner = network_onnx(network)
    files = {
        NETWORK_ONNX: inner,
        DETECTOR_ONNX: detector_onnx(inner, stride=network.required_multiple),
        WEIGHTS: save({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}),
    }
    records = {name: file_record(content) for name, content in files.items()}
    manifest = replace(manifest, files=records, stride=network.required_multiple, normalisation=NORMALISATION)
    return _write_files(path, files, manifest)


def copy_package(path: str | Path, package: Package) -> Package:
    """Write an opened package elsewhere, as it is in memory, and read it back.

    Args:
        path: As in `write_package`.
        package: Every file that its manifest lists.

    Raises:
        PackageError: ``path`` exists and is no weights package, or a file is missing.
    """
    files = {name: package.read(name) for name in package.manifest.files}
    return _write_files(Path(path), files, package.manifest)


def _write_files(path: Path, files: dict[str, bytes], manifest: Manifest) -> Package:
    files = {**files, MANIFEST: manifest.to_json().encode()}
    if path.suffix == ".zip":
        _write_zip(path, files)
    else:
        _write_folder(path, files)
    return read_package(path)


def load_model(package: str | Path | Package) -> DetectorNetwork:
    """The network of a package, in training form and evaluation mode.

    Raises:
        PackageError: The package is damaged, or its weights do not fit the architecture that it names.
    """
    if not isinstance(package, Package):
        package = read_package(package)
    architecture = package.manifest.architecture
    network = create_model(architecture["name"], **architecture["config"])
    if architecture["version"] != network.version:
        raise PackageError(
            f"{package.path}: weights for {architecture['name']} version {architecture['version']}, this pitviper has "
            f"version {network.version}; install the release that made them, or train again"
        )
    try:
        network.load_state_dict(load(package.read(WEIGHTS)))
    except RuntimeError as error:
        raise PackageError(f"{package.path}/{WEIGHTS} does not fit {architecture}: {error}") from error
    return network.eval()


def describe_architecture(name: str, network: DetectorNetwork) -> dict[str, object]:
    """The manifest's ``architecture`` entry for a network made by ``create_model(name, ...)``."""
    config = asdict(network.config)
    return {"name": name, "version": network.version, "config": config, "deployed": complexity(network)}


def _write_folder(path: Path, files: dict[str, bytes]) -> None:
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / MANIFEST).is_file())):
        raise PackageError(f"{path} exists and is no weights package; choose another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_zip(path: Path, files: dict[str, bytes]) -> None:
    if path.exists() and not _is_package_zip(path):
        raise PackageError(f"{path} exists and is no weights package; choose another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _is_package_zip(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return MANIFEST in archive.namelist()
