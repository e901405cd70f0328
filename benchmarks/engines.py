# SPDX-License-Identifier: Apache-2.0
"""What engines and precisions do to accuracy, and what they cost in time.

    python benchmarks/engines.py --data NUAA-SIRST --data NUDT-SIRST
    python benchmarks/engines.py --latency

The first compares every engine and precision with ONNX Runtime in fp32 on validation splits; int8 is calibrated on
training frames, in each way that is offered, and judged by the gate of `pitviper export`. The second times whole frames
by turns and is meaningful on an otherwise idle machine only; the load average is recorded.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from markdown_table import markdown_table
from numpy.typing import NDArray
from record import write_result

from pitviper.core.datasets import Dataset, open_dataset, read_sample
from pitviper.core.manifest import NETWORK_ONNX, Package
from pitviper.core.synthetic import random_scene_frame
from pitviper.kernels import standardise
from pitviper.sdk import Detector, engines, list_models, open_model
from pitviper.sdk.export import limits_of
from pitviper.sdk.exported import with_int8
from pitviper.sdk.profile import profile_together
from pitviper.sdk.quantise import METHODS, calibration_inputs, quantise
from pitviper.sdk.verify import Limits, compare, violations

CALIBRATION_FRAMES = 32
"""Of the training split of each data set, evenly spread over its list."""
CASES = (
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", action="append", help="data set folder; repeatable")
    what.add_argument("--latency", action="store_true", help="time frames of 640x512")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each model and number of threads")
    options = parser.parse_args()
    usable = {status.name for status in engines() if status.usable}
    if not {"onnxruntime", "openvino"} <= usable:
        raise SystemExit(
            "both onnxruntime and openvino are compared; pip install 'pitviper[openvino,export]'"
        )
    if options.latency:
        print(write_result("engines_latency", latency(options.seconds)))
    else:
        print(write_result("engines", accuracy(options.data)))


def accuracy(roots: list[str]) -> dict[str, Any]:
    """Every model on every validation split."""
    calibration = [frame for root in roots for frame in _spread(open_dataset(root, "train"))]
    datasets = [open_dataset(root, "val") for root in roots]
    models = {name: _one_model(open_model(name), calibration, datasets) for name in list_models()}
    return {"calibration_frames": len(calibration), "reference": "onnxruntime fp32", "models": models}


def _one_model(package: Package, calibration: list[NDArray[Any]], datasets: list[Dataset]) -> dict[str, Any]:
    with ExitStack() as stack:

        def opened(engine: str, precision: str, of: Package) -> Detector:
            return stack.enter_context(Detector(of, engine=engine, precision=precision, threads=1))

        detectors = {"openvino fp32": opened("openvino", "fp32", package)}
        detectors["openvino bf16"] = opened("openvino", "bf16", package)
        for ranges in METHODS:
            quantised = in_8_bits(package, calibration, ranges)
            for engine in ("onnxruntime", "openvino"):
                detectors[f"{engine} int8 {ranges}"] = opened(engine, "int8", quantised)
        reference = opened("onnxruntime", "fp32", package)
        ways = {name: lambda frame, one=one: one.detect(frame).score_map for name, one in detectors.items()}
        return {
            data.name: {
                "split_sha256": data.split_sha256,
                "ways": [_judged(each.to_dict(), each, limits_of("int8", masks=True)) for each in found],
            }
            for data in datasets
            for found in [compare(reference, data, ways, limits_of("int8", masks=True))]
        }


def _judged(plain: dict[str, Any], found: Any, limits: Limits) -> dict[str, Any]:
    return {**plain, "gate_of_int8": violations(found, limits) or "passed"}


def in_8_bits(package: Package, frames: list[NDArray[Any]], ranges: str) -> Package:
    """The package with its network in 8 bits beside the one in fp32."""
    stride = package.manifest.stride
    inputs = calibration_inputs(
        [standardise(frame, stride=stride) for frame in frames], stride=stride, ranges=ranges
    )
    return with_int8(package, quantise(package.read(NETWORK_ONNX), inputs, ranges=ranges))


def _spread(dataset: Dataset) -> Iterator[NDArray[Any]]:
    for index in np.linspace(0, len(dataset) - 1, CALIBRATION_FRAMES).astype(int):
        yield read_sample(dataset.samples[index])[0]


def latency(seconds: float) -> dict[str, Any]:
    """Whole frames of 640x512, all engines and precisions of a model by turns, with one thread and with two."""
    load = os.getloadavg()
    scenes = [random_scene_frame(seed, (256, 256))[0] for seed in range(8)]
    runs: dict[str, Any] = {}
    for name in list_models():
        package = in_8_bits(open_model(name), scenes, "minmax")
        for threads in (1, 2):
            with _all_cases(package, threads) as detectors:
                profiles, _ = profile_together(detectors, (512, 640), seconds=seconds)
            runs.setdefault(name, {})[str(threads)] = [profile.to_dict() for profile in profiles]
    return {"load_average_before": load, "models": runs}


@contextmanager
def _all_cases(package: Package, threads: int) -> Iterator[list[Detector]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(Detector(package, engine=engine, precision=precision, threads=threads))
            for engine, precision in CASES
        ]


def accuracy_table(result: dict[str, Any]) -> str:
    """Metrics of each way beside those of the reference."""
    head = [
        "model",
        "set",
        "engine and precision",
        "IoU",
        "Pd",
        "Fa, px/Mpx",
        "targets lost / added",
        "int8 gate",
    ]
    rows = []
    for model, sets in result["models"].items():
        for data, found in sets.items():
            first = found["ways"][0]["truth"]
            rows.append([model, data, result["reference"], *_numbers(first, 0), "", ""])
            for way in _distinct(found["ways"]):
                gate = "" if "int8" not in way["engine"] else _gate(way["gate_of_int8"])
                changed = f"{way['lost']} / {way['added']} of {way['targets']}"
                rows.append([model, data, way["engine"], *_numbers(way["truth"], 1), changed, gate])
    return markdown_table(head, rows)


def _distinct(ways: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ways of one engine that give the very same numbers share a row."""
    kept: list[dict[str, Any]] = []
    for way in ways:
        words = way["engine"].split()
        numbers = {key: value for key, value in way.items() if key != "engine"}
        for other in kept:
            same = numbers == {key: value for key, value in other.items() if key != "engine"}
            if same and other["engine"].split()[:2] == words[:2]:
                other["engine"] += f", {words[-1]}"
                break
        else:
            kept.append(dict(way))
    return kept


def _gate(found: str | list[str]) -> str:
    return "passed" if found == "passed" else "refused: " + ", ".join(text.split()[0] for text in found)


def _numbers(truth: dict[str, list[float]], side: int) -> list[str]:
    iou, pd, fa = (truth[key][side] for key in ("iou", "pd", "fa_per_mpix"))
    return [f"{100 * iou:.1f}", f"{100 * pd:.1f}", f"{fa:.1f}"]


def latency_table(result: dict[str, Any]) -> str:
    """Milliseconds of a whole frame and of its network."""
    told = result["conditions"]
    head = [
        "model",
        "threads",
        "engine",
        "precision",
        "network, median",
        "whole frame, median",
        "whole frame, p99",
    ]
    rows = []
    for model, runs in result["models"].items():
        for threads, profiles in runs.items():
            for profile in profiles:
                engine, stages = profile["engine"], profile["stages"]
                cells = [model, threads, f"{engine['name']} {engine['version']}", engine["precision"]]
                times = (("network_ms", "median"), ("total_ms", "median"), ("total_ms", "p99"))
                rows.append([*cells, *(f"{stages[stage][kind]:.2f}" for stage, kind in times)])
    return f"{told['device']}, milliseconds:\n\n" + markdown_table(head, rows)


if __name__ == "__main__":
    main()
