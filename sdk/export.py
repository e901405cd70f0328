# SPDX-License-Identifier: Apache-2.0
"""Writing the whole detector as one file, and proving that the file computes what the detector computes."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import DETECTOR_ONNX, PackageError, file_record
from pitviper.kernels import extract_targets
from pitviper.sdk.engines.onnxruntime import cpu_session
from pitviper.sdk.errors import (
    AccuracyGate,
    InputError,
    ModelError,
    SinkError,
)

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector

__all__ = ["FORMATS", "ExportReport", "export_model"]

FORMATS: Final = ("onnx",)
TOLERANCE: Final = 1e-3
"""Largest difference of one pixel's probability. The graph computes the frame statistics in float32, the SDK in
float64, and a trained network amplifies the last bits where a logit crosses zero."""

_SHAPES: Final = ((64, 64), (97, 130))


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it compares with the detector that wrote it.

    Attributes:
        path: The file.
        format: ``onnx``: frame float32 [N, 1, H, W] in raw counts -> probability float32 [N, 1, H, W].
        sha256: Of the file.
        bytes: Its size.
        frames: Synthetic frames that were compared.
        max_abs_difference: Largest difference of one pixel's probability over these frames.
        targets: Targets that the detector found in them.
        differing_targets: Boxes that only one of the two gives: where a pixel's probability lies within the difference
            of the threshold, either side is right.
        engine: Engine that the file was compared with.
    """

    path: Path
    format: str
    sha256: str
    bytes: int
    frames: int
    max_abs_difference: float
    targets: int
    differing_targets: int
    engine: str

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, safe for JSON."""
        return {**vars(self), "path": str(self.path)}


def export_model(detector: Detector, path: str | os.PathLike[str], *, format: str = "onnx") -> ExportReport:
    """Write the detector of a package as one file that needs no code around it, and check it.

    The file takes raw counts and returns the probability map; standardisation, padding, network and crop are in
    it. It appears at ``path`` only after the check has passed.

    Args:
        detector: Detector that is running the model.
        path: File to write, named after its format and outside the package; an existing one is replaced.
        format: One of `FORMATS`.

    Raises:
        InputError: Another format.
        AccuracyGate: The file's output differs from the detector's by more than `TOLERANCE`.
        EngineUnavailable: ONNX Runtime, which runs the check, is not installed.
        SinkError: The file cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"export format {format!r} is not offered; this version writes {', '.join(FORMATS)}")
    target = Path(path)
    if target.suffix.lower() != f".{format}":
        # The only thing that stands between a mistyped argument and a recording that is replaced by a model.
        raise InputError(f"{target}: an export to {format} needs the suffix .{format}")
    if target.resolve().parent == detector.package.path.resolve():
        raise InputError(
            f"{target}: lies in the package of the model, whose files are hashed; choose another place"
        )
    try:
        content = detector.package.read(DETECTOR_ONNX)
    except PackageError as error:
        raise ModelError(str(error)) from error
    difference, targets, differing = _compare(detector, content)
    _write(target, content)
    record = file_record(content)
    return ExportReport(
        path=target,
        format=format,
        sha256=record["sha256"],
        bytes=record["bytes"],
        frames=len(_SHAPES),
        max_abs_difference=difference,
        targets=targets,
        differing_targets=differing,
        engine=detector.engine_info.name,
    )


def _compare(detector: Detector, content: bytes) -> tuple[float, int, int]:
    session = cpu_session(content, f"{detector.package.path}/{DETECTOR_ONNX}")
    worst, count, differing = 0.0, 0, 0
    for seed, shape in enumerate(_SHAPES):
        frame = _synthetic(shape, seed)
        ours = detector.detect(frame)
        (found,) = session.run(None, {session.get_inputs()[0].name: frame.astype(np.float32)[None, None]})
        theirs: NDArray[np.float32] = found[0, 0]
        difference = float(np.abs(theirs - ours.score_map).max())
        if not difference <= TOLERANCE:
            raise AccuracyGate(
                f"{DETECTOR_ONNX} differs from engine {detector.engine_info.name} by {difference:.2g} in probability "
                f"on a synthetic frame {shape[0]}x{shape[1]}, allowed is {TOLERANCE:g}; the package was made by "
                "another version, make it again"
            )
        worst, count = max(worst, difference), count + len(ours)
        differing += _differing(theirs, ours.score_map, ours.threshold)
    return worst, count, differing


def _differing(theirs: NDArray[np.float32], ours: NDArray[np.float32], threshold: float) -> int:
    """Targets that only one of the maps has, compared by box."""
    first, second = (
        extract_targets(np.ascontiguousarray(each), None, threshold, max_targets=each.size)
        for each in (theirs, ours)
    )
    return len({tuple(box) for box in first.xyxy.tolist()} ^ {tuple(box) for box in second.xyxy.tolist()})


def _synthetic(shape: tuple[int, int], seed: int) -> NDArray[np.uint16]:
    """Noise on a ramp with targets of 1, 2, 3 and 9 pixels' side."""
    random = np.random.default_rng(seed)
    frame = random.normal(7800, 12, shape) + np.linspace(0, 200, shape[1])
    for side, row in ((1, 6), (2, 18), (3, 30), (9, 44)):
        frame[row : row + side, 20 : 20 + side] += 300
    return frame.astype(np.uint16)


def _write(path: Path, content: bytes) -> None:
    partial: str | None = None
    try:
        handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes files that only their owner can read; an export is for others too.
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        if partial is not None and os.path.exists(partial):
            os.unlink(partial)
        raise SinkError(
            f"{path} cannot be written ({error}); choose a folder that exists and is writable"
        ) from error
