# SPDX-License-Identifier: Apache-2.0
"""The weights package: what it holds, and reading it without torch.

A package is a folder, or one uncompressed zip file of the same content, with

- ``model.onnx``: the whole detector, raw counts float32 [N, 1, H, W] -> probability float32 [N, 1, H, W], any H and W;
- ``network.onnx``: standardised frames padded to the stride -> probability, what the SDK runs between its own
  ``standardise`` and ``extract_targets``;
- ``model.safetensors``: the weights in training form, to fine-tune or to deploy with torch;
- ``network-int8.onnx`` and ``quantisation.json``, where the network was quantised: the same network with 8-bit
  convolutions, how it was calibrated and what the accuracy gate measured;
- ``manifest.json``: this module's ``Manifest``, with the SHA-256 of every other file.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

SCHEMA = 1
MANIFEST = "manifest.json"
DETECTOR_ONNX = "model.onnx"
NETWORK_ONNX = "network.onnx"
NETWORK_INT8_ONNX = "network-int8.onnx"
QUANTISATION = "quantisation.json"
WEIGHTS = "model.safetensors"
_PICKLED = frozenset({".pt", ".pth", ".pkl", ".pickle", ".tar", ".ckpt", ".bin"})


class PackageError(ValueError):
    """A weights package that cannot be used; the message names the file and the fix."""


class UnsafeWeights(PackageError):
    """The file is, or may be, a pickle, which can run code when it is loaded."""


class IntegrityError(PackageError):
    """A file of the package is not the one that its manifest describes."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it gave on a validation set.

    Attributes:
        name: ``"default"`` is the one that a ``Detector`` takes. A point stands once per validation set.
        threshold: Probability in (0, 1); a pixel is target when its probability is above it.
        data: Name of the validation set.
        pd: Share of true targets found, in [0, 1].
        fa_per_mpix: False-alarm pixels per million pixels.
        false_objects_per_frame: Unmatched predicted components per frame. All three are None when not measured.
    """

    name: str
    threshold: float
    data: str
    pd: float | None
    fa_per_mpix: float | None
    false_objects_per_frame: float | None


@dataclass(frozen=True)
class Manifest:
    """What a weights package holds and where it comes from. Every field is JSON-safe.

    Attributes:
        name: Model name, e.g. ``pit-s``.
        architecture: ``{"name": registered name, "version": ..., "config": {...}}``.
        normalisation: Name of the definition that the network was trained with.
        stride: Sides of the network's input are multiples of it.
        operating_points: Thresholds with their validation results; the first named ``default`` is taken.
        metrics: Per validation set: results, number of images and targets, SHA-256 of its split list.
        training: Command, commit, config, seed and how the epoch was chosen.
        data: Training sets with citation, number of frames and SHA-256 of the split list.
        licence: Licence of the weights.
        provenance: One paragraph on where the training data comes from.
        files: File name -> ``{"sha256": ..., "bytes": ...}``.
        schema: Version of this layout.
    """

    name: str
    architecture: dict[str, Any]
    normalisation: str
    stride: int
    operating_points: tuple[OperatingPoint, ...]
    metrics: dict[str, Any]
    training: dict[str, Any]
    data: tuple[dict[str, Any], ...]
    licence: str
    provenance: str
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema: int = SCHEMA

    def default_threshold(self) -> float:
        """Threshold of the operating point named ``default``."""
        for point in self.operating_points:
            if point.name == "default":
                return point.threshold
        raise PackageError(f"package {self.name!r} has no operating point named 'default'; pass threshold=")

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = MANIFEST) -> Manifest:
        """Parse ``manifest.json``; ``source`` names it in errors."""
        try:
            values = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise PackageError(f"{source}: not valid JSON ({error}); get the package again") from error
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            found = values.get("schema") if isinstance(values, dict) else type(values).__name__
            raise PackageError(f"{source}: schema {found}, this version reads {SCHEMA}; update pitviper")
        known = {f.name for f in fields(cls)}
        if set(values) != known:
            odd = ", ".join(sorted(set(values) ^ known))
            raise PackageError(f"{source}: missing or unknown fields: {odd}; get the package again")
        try:
            values["operating_points"] = tuple(OperatingPoint(**p) for p in values["operating_points"])
            values["data"] = tuple(values["data"])
            _check_types(values)
        except TypeError as error:
            raise PackageError(f"{source}: {error}; get the package again") from error
        return cls(**values)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


_TYPES: dict[str, type] = {
    **dict.fromkeys(("name", "normalisation", "licence", "provenance"), str),
    **dict.fromkeys(("architecture", "metrics", "training", "files"), dict),
    "stride": int,
}


def _check_types(values: dict[str, Any]) -> None:
    """Raise TypeError for a field that is not of its type, so that nobody who reads a manifest has to look."""
    for key, kind in _TYPES.items():
        if type(values[key]) is not kind:
            raise TypeError(f"{key} must be {kind.__name__}, got {values[key]!r:.60}")
    if values["stride"] < 1:
        raise TypeError(f"stride must be at least 1, got {values['stride']}")
    for each in (*values["data"], *values["metrics"].values(), *values["files"].values()):
        if not isinstance(each, dict):
            raise TypeError(f"data, metrics and files hold objects, got {each!r:.60}")
    for measured in values["metrics"].values():
        if type(measured.get("images", 0)) is not int:
            raise TypeError(f"images must be a whole number, got {measured['images']!r:.60}")
    for point in values["operating_points"]:
        rates = (point.pd, point.fa_per_mpix, point.false_objects_per_frame)
        numbers = all(_is_number(each) for each in (point.threshold, *(r for r in rates if r is not None)))
        if not numbers or not isinstance(point.name, str) or not isinstance(point.data, str):
            raise TypeError(f"no operating point: {point!r:.200}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


@dataclass(frozen=True)
class Package:
    """An opened weights package."""

    path: Path
    manifest: Manifest
    _bytes: dict[str, bytes] = field(repr=False)

    def read(self, name: str) -> bytes:
        """Content of one file of the package, as verified when it was opened.

        Raises:
            PackageError: The package holds no such file.
        """
        if name not in self._bytes:
            raise PackageError(f"{self.path}: holds no {name}; it has {', '.join(sorted(self._bytes))}")
        return self._bytes[name]


def read_package(path: str | Path, *, verify: bool = True) -> Package:
    """Open a weights package and check every file against the manifest's SHA-256.

    Args:
        path: Package folder or zip file.
        verify: Compare hashes; False is for tools that look at damaged packages.

    Raises:
        UnsafeWeights: The path is a pickle, or the package holds one.
        IntegrityError: A file is missing, added or changed.
        PackageError: Not a package, or of another schema.
    """
    path = Path(path)
    if path.suffix.lower() in _PICKLED:
        raise UnsafeWeights(
            f"{path}: {path.suffix} files are pickles, which can run code when loaded; convert the weights to "
            "safetensors where you trust them, and make a package with pitviper-train"
        )
    content = _read_folder(path) if path.is_dir() else _read_zip(path)
    pickled = sorted(n for n in content if Path(n).suffix.lower() in _PICKLED)
    if pickled:
        raise UnsafeWeights(
            f"{path}: holds {', '.join(pickled)}; pickles can run code when loaded, remove them"
        )
    if MANIFEST not in content:
        raise PackageError(f"{path}: holds no {MANIFEST}; a weights package is a folder or zip with one")
    manifest = Manifest.from_json(
        content.pop(MANIFEST).decode("utf-8", "replace"), source=f"{path}/{MANIFEST}"
    )
    if verify:
        _verify(path, manifest, content)
    return Package(path, manifest, content)


def file_record(content: bytes) -> dict[str, Any]:
    """The manifest's entry for a file of this content."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _read_folder(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(path.iterdir()) if p.is_file()}


def _read_zip(path: Path) -> dict[str, bytes]:
    if not path.is_file():
        raise PackageError(
            f"{path}: no such file or folder; pass the path of a weights package. The one of a shipped model: "
            "python -c \"from pitviper import sdk; print(sdk.open_model('pit-s').path)\""
        )
    if not zipfile.is_zipfile(path):
        raise PackageError(f"{path}: neither a package folder nor a zip file; get it again")
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise IntegrityError(
            f"{path}: damaged zip file ({error}); the file was changed, get the package again"
        ) from error


def _verify(path: Path, manifest: Manifest, content: dict[str, bytes]) -> None:
    differing = sorted(set(content) ^ set(manifest.files))
    if differing:
        raise IntegrityError(
            f"{path}: {', '.join(differing)} missing or not in the manifest; get the package again"
        )
    for name, data in content.items():
        expected, found = manifest.files[name], file_record(data)
        if expected != found:
            raise IntegrityError(
                f"{path}/{name}: sha256 {found['sha256'][:16]}... ({found['bytes']} bytes), the manifest says "
                f"{expected['sha256'][:16]}... ({expected['bytes']} bytes); the file was changed or damaged, "
                "get the package again"
            )
