# SPDX-License-Identifier: Apache-2.0
"""Whether the fused runtime gives the targets of ONNX Runtime, from the raw frame on, over validation frames.

    python benchmarks/runtime_equality.py --data DATASET --data ANOTHER --device cpu --device host
    python benchmarks/runtime_equality.py --data DATASET --engine torch-fused --device cpu --precision fp16

Without ``--engine`` the runtime standardises, runs its plan and extracts by itself; ``host`` runs the bodies of the GPU
kernels on the CPU. With it, that engine runs between the operations that all engines share. On a CPU it says nothing of
speed and nothing of a GPU.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_result

from pitviper.core.datasets import Dataset, open_dataset, read_sample
from pitviper.core.manifest import Package
from pitviper.core.metrics.matching import match_optimal
from pitviper.core.plan import build_plan
from pitviper.kernels.runtime import FusedRuntime
from pitviper.sdk import Detections, Detector, list_models
from pitviper.sdk.verify import MATCH_PX

Way = Callable[[NDArray[Any]], tuple[Detections, NDArray[np.float32]]]
"""From a raw frame to its targets and its probability float32 [H, W]."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set with a val split")
    parser.add_argument("--device", action="append", required=True, help="cpu, host or cuda:0")
    parser.add_argument("--engine", help="an engine of the detector in place of the runtime alone")
    parser.add_argument("--precision", action="append", help="fp32, fp16, bf16 (default: auto); repeatable")
    parser.add_argument("--model", action="append", help="default: every shipped model")
    parser.add_argument("--name", default="runtime_equality", help="stem of the result")
    options = parser.parse_args()
    sets = [open_dataset(root, "val") for root in options.data]
    rows: list[dict[str, Any]] = []
    models, precisions = options.model or list_models(), options.precision or ["auto"]
    for device, precision, model in itertools.product(options.device, precisions, models):
        with (
            Detector(model, engine="onnxruntime", threads=1) as detector,
            opened(detector, options.engine, device, precision) as (way, told),
        ):
            for dataset in sets:
                rows.append({**told, **compare(detector, way, dataset)})
                print(rows[-1], flush=True)
        print(write_result(options.name, {"rows": rows}), flush=True)


@contextmanager
def opened(
    detector: Detector, engine: str | None, device: str, precision: str
) -> Iterator[tuple[Way, dict[str, str]]]:
    """What is compared, and what it says that it runs on."""
    if engine is None:
        half = {"auto": None, "fp32": False, "fp16": True}[precision]
        with runtime_way(detector.package, device, half) as found:
            yield found
        return
    with Detector(
        detector.package, engine=engine, device=device, precision=precision, threshold=detector.threshold
    ) as other:

        def way(frame: NDArray[Any]) -> tuple[Detections, NDArray[np.float32]]:
            found = other.detect(frame)
            return found, found.score_map

        info = other.engine_info
        yield way, {"engine": info.name, "device": info.device, "precision": info.precision}


@contextmanager
def runtime_way(package: Package, device: str, half: bool | None) -> Iterator[tuple[Way, dict[str, str]]]:
    with FusedRuntime(build_plan(package).to_bytes(), device=device, half=half) as runtime:

        def way(frame: NDArray[Any]) -> tuple[Detections, NDArray[np.float32]]:
            runtime.submit(frame)
            result = runtime.poll()
            assert result is not None
            return Detections.from_targets(result.targets, frame.shape), runtime.map(frame.shape)

        info = runtime.info
        yield way, {"device": info["device"], "precision": "fp16" if info["half"] else "fp32"}


def compare(detector: Detector, way: Way, dataset: Dataset) -> dict[str, Any]:
    """Frames with other boxes or areas, targets without a counterpart, and the largest differences."""
    differing: list[str] = []
    frames = targets = lost = added = 0
    probability = position = score = snr = 0.0
    for sample in dataset.samples:
        frame = read_sample(sample)[0]
        expected, (found, values) = detector.detect(frame), way(frame)
        frames, targets = frames + 1, targets + len(expected)
        probability = max(probability, float(np.abs(values - expected.score_map).max()))
        if not same(found, expected):
            differing.append(sample.name)
        apart = np.linalg.norm(expected.xy[:, None] - found.xy[None], axis=2)
        ours, theirs = match_optimal(apart, apart <= MATCH_PX).T
        lost, added = lost + len(expected) - len(ours), added + len(found) - len(ours)
        if len(ours):
            position = max(position, float(apart[ours, theirs].max()))
            score = max(score, float(np.abs(found.score[theirs] - expected.score[ours]).max()))
            if same(found, expected):
                snr = max(snr, float(np.nanmax(np.abs(found.snr - expected.snr))))
    return {
        "model": detector.manifest.name,
        "data": dataset.name,
        "frames": frames,
        "targets": targets,
        "targets_lost": lost,
        "targets_added": added,
        "frames_with_other_targets": len(differing),
        "their_names": differing,
        "max_probability_difference": probability,
        "max_position_difference_px": position,
        "max_score_difference": score,
        "max_snr_difference": snr,
    }


def same(found: Detections, expected: Detections) -> bool:
    """Whether boxes and areas are equal, target by target."""
    return np.array_equal(found.xyxy, expected.xyxy) and np.array_equal(found.area_px, expected.area_px)


if __name__ == "__main__":
    main()
