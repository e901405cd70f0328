# SPDX-License-Identifier: Apache-2.0
"""Whether the fused runtime gives the targets of ONNX Runtime, from the raw frame on, over validation frames.

    python benchmarks/runtime_equality.py --data DATASET --data ANOTHER --device cpu --device host

The runtime standardises, runs its plan and extracts by itself; ``host`` runs the bodies of the GPU kernels on the CPU.
It says nothing of speed and nothing of a GPU.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_result

from pitviper.core.datasets import Dataset, open_dataset, read_sample
from pitviper.core.plan import build_plan
from pitviper.kernels import Targets
from pitviper.kernels.runtime import FusedRuntime
from pitviper.sdk import Detections, Detector, list_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set with a val split")
    parser.add_argument("--device", action="append", required=True, help="cpu, host or cuda:0")
    parser.add_argument("--half", action="store_true", help="fp16 on host")
    parser.add_argument("--model", action="append", help="default: every shipped model")
    parser.add_argument("--name", default="runtime_equality", help="stem of the result")
    options = parser.parse_args()
    sets = [open_dataset(root, "val") for root in options.data]
    rows: list[dict[str, Any]] = []
    for device in options.device:
        for model in options.model or list_models():
            with Detector(model, engine="onnxruntime", threads=1) as detector:
                plan = build_plan(detector.package).to_bytes()
                with FusedRuntime(plan, device=device, half=True if options.half else None) as runtime:
                    for dataset in sets:
                        rows.append(compare(detector, runtime, dataset))
                        print(rows[-1], flush=True)
            print(write_result(options.name, {"rows": rows}), flush=True)


def compare(detector: Detector, runtime: FusedRuntime, dataset: Dataset) -> dict[str, Any]:
    """Frames with other boxes or areas, and the largest differences over all pixels and targets."""
    differing: list[str] = []
    frames = targets = 0
    probability = position = score = snr = 0.0
    for sample in dataset.samples:
        frame = read_sample(sample)[0]
        expected, (found, values) = detector.detect(frame), run(runtime, frame)
        frames, targets = frames + 1, targets + len(expected)
        probability = max(probability, float(np.abs(values - expected.score_map).max()))
        if not same(found, expected):
            differing.append(sample.name)
        elif len(expected):
            position = max(position, float(np.abs(found.xy - expected.xy).max()))
            score = max(score, float(np.abs(found.peak - expected.score).max()))
            snr = max(snr, float(np.nanmax(np.abs(found.snr - expected.snr))))
    info = runtime.info
    return {
        "model": detector.manifest.name,
        "data": dataset.name,
        "device": info["device"],
        "precision": "fp16" if info["half"] else "fp32",
        "frames": frames,
        "targets": targets,
        "frames_with_other_targets": len(differing),
        "their_names": differing,
        "max_probability_difference": probability,
        "max_position_difference_px": position,
        "max_score_difference": score,
        "max_snr_difference": snr,
    }


def run(runtime: FusedRuntime, frame: NDArray[Any]) -> tuple[Targets, NDArray[np.float32]]:
    runtime.submit(frame)
    result = runtime.poll()
    assert result is not None
    return result.targets, runtime.map(frame.shape)


def same(found: Targets, expected: Detections) -> bool:
    """Whether boxes and areas are equal, target by target."""
    return np.array_equal(found.xyxy, expected.xyxy) and np.array_equal(found.area, expected.area_px)


if __name__ == "__main__":
    main()
