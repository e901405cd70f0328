# SPDX-License-Identifier: Apache-2.0
"""Writing the detector as a file or a package, and proving that it computes what the running detector computes."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import DETECTOR_ONNX, NETWORK_ONNX, Package, PackageError, file_record
from pitviper.kernels import extract_targets, standardise
from pitviper.sdk.errors import AccuracyGate, InputError, MissingExtra, SinkError
from pitviper.sdk.exported import (
    detector_file,
    plan_file,
    ways_of_file,
    ways_of_package,
    ways_of_plan,
    with_int8,
)

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.quantise import Quantised
    from pitviper.sdk.verify import Comparison, Limits, MapOf

__all__ = ["FORMATS", "PRECISIONS", "ExportReport", "export_model"]

FORMATS: Final = ("onnx", "package", "plan")
_FILES: Final = ("onnx", "plan")
PRECISIONS: Final = ("fp32", "int8")
TOLERANCE: Final = 1e-3
"""Largest difference of one pixel's probability. The graph computes the frame statistics in float32, the SDK in
float64, and a trained network amplifies the last bits where a logit crosses zero."""

_SHAPES: Final = ((64, 64), (97, 130))


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it compares with the detector that wrote it.

    Attributes:
        path: The file or the package.
        format: ``onnx``: frame float32 [N, 1, H, W] in raw counts -> probability float32 [N, 1, H, W]; ``package``; or
            ``plan``, what the C interface opens.
        precision: ``fp32`` or ``int8``.
        sha256: Of the file; of the 8-bit network in a package.
        bytes: Its size.
        frames: Synthetic frames that were compared.
        max_abs_difference: Largest difference of one pixel's probability over these frames.
        targets: Targets that the detector found in them.
        differing_targets: Boxes that only one of the two gives: where a pixel's probability lies within the difference
            of the threshold, either side is right.
        engine: Engine that the file was compared with.
        comparisons: On the frames of ``verify``, one for each engine here that runs what was written.
        quantisation: How the 8-bit network was made; None for fp32.
        broken: Limits that were broken and accepted with ``force``; empty otherwise.
    """

    path: Path
    format: str
    precision: str
    sha256: str
    bytes: int
    frames: int
    max_abs_difference: float
    targets: int
    differing_targets: int
    engine: str
    comparisons: tuple[Comparison, ...] = ()
    quantisation: dict[str, Any] | None = None
    broken: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, safe for JSON."""
        plain = {**vars(self), "path": str(self.path), "broken": list(self.broken)}
        return {**plain, "comparisons": [each.to_dict() for each in self.comparisons]}


def export_model(
    detector: Detector,
    path: str | os.PathLike[str],
    *,
    format: str = "onnx",
    precision: str = "fp32",
    calibrate: Any = None,
    ranges: str = "percentile",
    verify: Any = None,
    force: bool = False,
) -> ExportReport:
    """Write the detector of a package so that it needs no code around it, or as a package in 8 bits, and check it.

    The file takes raw counts and returns the probability map; standardisation, padding, network and crop are in
    it. A package is a copy of the model's that also holds its network in 8 bits, for ``precision="int8"`` of
    `Detector`. A plan is the model as the fused kernels run it, for programs in C and C++. Each appears at ``path``
    only after the checks have passed.

    Args:
        detector: Detector that is running the model.
        path: File to write, named after its format and outside the package; an existing one is replaced.
        format: One of `FORMATS`.
        precision: One of `PRECISIONS`. ``int8`` needs ``calibrate`` and ``verify``.
        calibrate: Frames that the ranges of the 8-bit maps are taken from: what `open_source` accepts, or a `Dataset`.
        ranges: How they are taken: ``percentile``, ``minmax`` or ``entropy``.
        verify: Frames on which what is written is compared with the running detector in every engine that can run it
            here; with masks, as a `Dataset`, also by Pd and IoU. The limits are `limits_of`.
        force: Write it although a limit of ``verify`` is broken; the report then says which.

    Raises:
        InputError: Another format or precision, or an argument that does not go with them.
        AccuracyGate: A limit is broken: `TOLERANCE` on synthetic frames, or one of ``verify``.
        EngineUnavailable: ONNX Runtime, which runs the check, is not installed.
        MissingExtra: ``int8``, and the extra ``export`` is not installed.
        SinkError: The file cannot be written.
    """
    target = Path(path)
    _check(detector, target, format, precision, calibrate is not None, verify is not None)
    package, quantised = detector.package, None
    if precision == "int8":
        quantised = _quantised(detector, calibrate, ranges)
    if quantised is not None and format == "package":
        content = quantised.content
        ways = ways_of_package(with_int8(package, quantised), "int8", detector.threshold)
    elif format == "plan":
        content, ways = plan_file(package), ways_of_plan(package, detector.threshold)
    else:
        content = detector_file(package, quantised)
        ways = ways_of_file(content, f"{package.path}/{DETECTOR_ONNX}")
    difference, targets, differing = _compare(
        detector, next(iter(ways.values())), TOLERANCE if quantised is None else None
    )
    comparisons, broken = _verified(detector, verify, ways, precision, force)
    if quantised is not None and format == "package":
        _write_package(target, with_int8(package, quantised, comparisons))
    else:
        _write(target, content)
    record = file_record(content)
    return ExportReport(
        path=target,
        format=format,
        precision=precision,
        sha256=record["sha256"],
        bytes=record["bytes"],
        frames=len(_SHAPES),
        max_abs_difference=difference,
        targets=targets,
        differing_targets=differing,
        engine=detector.engine_info.name,
        comparisons=comparisons,
        quantisation=None if quantised is None else quantised.to_dict(),
        broken=broken,
    )


def limits_of(precision: str, *, masks: bool) -> Limits:
    """What `export_model` allows on the frames of ``verify``.

    In fp32 the map may move by `TOLERANCE` and no target may change, which also settles what masks say. In 8 bits the
    maps do move, so targets decide: with masks Pd must not fall at all, IoU by at most 0.03 and Fa may rise by at most
    10 pixels per million; without, 2 % of the detector's targets may be lost and 5 % added.
    """
    from pitviper.sdk.verify import Limits

    if precision == "fp32":
        return Limits(difference=TOLERANCE, pd_drop=1.0, iou_drop=1.0, fa_rise=math.inf)
    if masks:
        return Limits(difference=None, lost=1.0, added=math.inf, iou_drop=0.03, fa_rise=10.0)
    return Limits(difference=None, lost=0.02, added=0.05)


def _check(
    detector: Detector, target: Path, format: str, precision: str, calibrated: bool, verified: bool
) -> None:
    if detector.polarity != "bright":
        raise InputError(
            "what is written looks for bright targets; export from a Detector without polarity, and give the file "
            "negative frames, such as 65535 - frame"
        )
    if format not in FORMATS:
        raise InputError(f"export format {format!r} is not offered; this version writes {', '.join(FORMATS)}")
    if precision not in PRECISIONS:
        raise InputError(
            f"export precision {precision!r} is not offered; it is one of {', '.join(PRECISIONS)}"
        )
    if format in _FILES and target.suffix.lower() != f".{format}":
        # The only thing that stands between a mistyped argument and a recording that is replaced by a model.
        raise InputError(f"{target}: an export to {format} needs the suffix .{format}")
    source = detector.package.path.resolve()
    if source in (target.resolve(), target.resolve().parent):
        raise InputError(
            f"{target}: lies in the package of the model, whose files are hashed; choose another place"
        )
    if precision == "int8" and format == "plan":
        raise InputError(
            "a plan runs in fp32 or fp16, as its reader chooses; int8 needs format 'onnx' or 'package'"
        )
    if precision == "int8" and not (calibrated and verified):
        raise InputError(
            "int8 needs frames to calibrate on (calibrate=, --calibrate) and others to judge it on (verify=, --verify "
            "FRAMES or --data DIR): without them it may miss targets, and nobody would know"
        )
    if precision == "fp32" and (calibrated or format == "package"):
        raise InputError(
            "calibrate= and format='package' are for precision='int8'; in fp32 the model's package is "
            f"{detector.package.path} itself"
        )


def _quantised(detector: Detector, frames: Any, ranges: str) -> Quantised:
    from pitviper.sdk.quantise import calibration_inputs, quantise
    from pitviper.sdk.verify import named_frames

    stride = detector.manifest.stride
    standardised = [standardise(each.image, stride=stride) for each in named_frames(frames)]
    inputs = calibration_inputs(standardised, stride=stride, ranges=ranges)
    return quantise(detector.package.read(NETWORK_ONNX), inputs, ranges=ranges)


def _verified(
    detector: Detector, frames: Any, ways: dict[str, MapOf], precision: str, force: bool
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """Comparisons on the user's frames, and the limits that they break."""
    if frames is None:
        return (), ()
    from pitviper.core.datasets import Dataset
    from pitviper.sdk.verify import compare, violations

    limits = limits_of(precision, masks=isinstance(frames, Dataset))
    comparisons = compare(detector, frames, ways, limits)
    if precision == "int8" and not any(each.targets or each.truth for each in comparisons):
        raise InputError(
            f"none of the {comparisons[0].frames} frames to verify on holds a target that the detector finds, so they "
            "cannot show one that is lost; pass frames with targets"
        )
    broken = tuple(f"{each.engine}: {text}" for each in comparisons for text in violations(each, limits))
    if broken and not force:
        raise AccuracyGate(
            f"nothing was written: {'; '.join(broken)}. Look at these frames; calibrate int8 on more frames or in "
            "another way, stay with fp32, or accept it with force=True (--force)"
        )
    return comparisons, broken


def _compare(detector: Detector, way: MapOf, tolerance: float | None) -> tuple[float, int, int]:
    """Largest difference on synthetic frames, targets in them, and boxes that only one side gives."""
    worst, count, differing = 0.0, 0, 0
    for seed, shape in enumerate(_SHAPES):
        frame = _synthetic(shape, seed)
        ours = detector.detect(frame)
        theirs = way(frame)
        difference = float(np.abs(theirs - ours.score_map).max())
        if tolerance is not None and not difference <= tolerance:
            raise AccuracyGate(
                f"what would be written differs from engine {detector.engine_info.name} by {difference:.2g} in "
                f"probability on a synthetic frame {shape[0]}x{shape[1]}, allowed is {tolerance:g}; the package was "
                "made by another version, make it again"
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


def _write_package(path: Path, package: Package) -> None:
    try:
        from pitviper.core.weights import copy_package
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"a package is written with safetensors and torch ({error}); pip install 'pitviper[export]'"
        ) from error
    try:
        copy_package(path, package)
    except PackageError as error:
        raise SinkError(str(error)) from error
    except OSError as error:
        raise SinkError(
            f"{path} cannot be written ({error}); choose a folder that exists and is writable"
        ) from error


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
