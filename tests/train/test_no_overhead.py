# SPDX-License-Identifier: Apache-2.0
"""What FDEP ships costs exactly what supervised training ships: the same tensors, arithmetic and graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from pitviper.core.datasets import open_dataset, read_sample
from pitviper.core.manifest import WEIGHTS, Package
from pitviper.core.models import complexity, create_model
from pitviper.core.weights import load_model
from pitviper.kernels import standardise
from pitviper.train.config import FDEPConfig, SupervisedConfig
from pitviper.train.package import package_run
from pitviper.train.run import Hardware, load_main_branch, load_run, train_fdep, train_supervised
from pitviper.train.validate import predict_standardised

onnx = pytest.importorskip("onnx")
CPU = Hardware(accelerator="cpu", devices="1", precision="32-true")
Pair = tuple[Package, Package, Path]


@pytest.fixture(scope="module")
def pair(config: Callable[..., SupervisedConfig], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Packages of a supervised and of an FDEP run of the same settings, and the folder of the latter."""
    folder = tmp_path_factory.mktemp("pair")
    common = config(epochs=1)
    train_supervised(common, folder / "supervised", hardware=CPU)
    fdep = FDEPConfig.from_dict(common.to_dict() | {"vfm": "tiny-random"})
    # As far from supervised as settings go: all of it stays in training.
    train_fdep(replace(fdep, samf_style="plain", distillation=4.0), folder / "fdep", hardware=CPU)
    plain, ours = (
        package_run(
            folder / name, folder / f"{name}-package", which="last", licence="-", provenance="-", commit="-"
        )
        for name in ("supervised", "fdep")
    )
    return plain, ours, folder / "fdep"


def test_the_same_tensors(pair: Pair) -> None:
    plain, ours, _ = (load(p.read(WEIGHTS)) if isinstance(p, Package) else p for p in pair)
    assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {
        k: (v.shape, v.dtype) for k, v in plain.items()
    }
    assert not any(part in name for name in ours for part in ("samf", "vfm", "statistics"))
    assert any(not torch.equal(ours[name], plain[name]) for name in ours), "they were trained differently"


def test_the_same_parameters_and_multiply_adds(pair: Pair) -> None:
    plain, ours = pair[0].manifest, pair[1].manifest
    assert ours.architecture == plain.architecture
    bare = create_model(ours.architecture["name"])
    assert complexity(load_model(pair[1])) == complexity(bare) == ours.architecture["deployed"]


@pytest.mark.parametrize("name", ["network.onnx", "model.onnx"])
def test_the_same_graph_node_for_node(pair: Pair, name: str) -> None:
    """Runtimes read nothing else, so with equal graphs the latency is equal by construction."""
    plain, ours = (onnx.load_from_string(package.read(name)) for package in pair[:2])
    assert [node.op_type for node in ours.graph.node] == [node.op_type for node in plain.graph.node]
    shapes = [{i.name: (tuple(i.dims), i.data_type) for i in m.graph.initializer} for m in (plain, ours)]
    assert shapes[0] == shapes[1]
    values = [{i.name: i.SerializeToString() for i in m.graph.initializer} for m in (plain, ours)]
    assert values[0] != values[1], "the weights themselves differ"
    for model in (plain, ours):
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                tensor.ClearField("raw_data")
                tensor.ClearField("float_data")
    assert ours.SerializeToString() == plain.SerializeToString(), "attributes, names and other constants too"


def test_the_package_is_the_light_branch_bit_for_bit(pair: Pair, tiny: Path) -> None:
    packed = load_model(pair[1])
    main, _ = load_main_branch(pair[2])
    light = main.task.network.eval()  # type: ignore[union-attr]
    kept = load_run(pair[2], "last")[0]
    for sample in open_dataset(tiny, "val").samples:
        image = standardise(read_sample(sample)[0])
        found = predict_standardised(packed, image)
        assert np.array_equal(found, predict_standardised(light, image)), (
            "the branch in the checkpoint's average"
        )
        assert np.array_equal(found, predict_standardised(kept, image))
        assert not np.array_equal(found, predict_standardised(main, image)), "and not the main one"
