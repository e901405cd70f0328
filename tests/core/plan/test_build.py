# SPDX-License-Identifier: Apache-2.0
"""From a package to a plan: every network of the family, refused with the operator's name where it is another one."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.manifest import NETWORK_ONNX, Manifest, OperatingPoint, Package
from pitviper.core.plan import Op, PlanError, build_plan
from pitviper.core.plan.arena import ALIGNMENT, place
from pitviper.core.plan.onnx_graph import GraphError, read_graph
from pitviper.kernels import NORMALISATION
from pitviper.kernels.runtime import FusedRuntime
from pitviper.sdk.engines.onnxruntime import cpu_session

TOLERANCE = 1e-4
"""The same float32 products are added in another order: about 1e-5 of a logit of tens, a quarter of it in probability,
and an order of magnitude for the layers on the way."""


def package_of(content: bytes, stride: int) -> Package:
    point = OperatingPoint("default", 0.5, "none", None, None, None)
    manifest = Manifest(
        name="made", architecture={"name": "made", "version": "1", "config": {}}, normalisation=NORMALISATION,
        stride=stride, operating_points=(point,), metrics={}, training={}, data=(), licence="Apache-2.0",
        provenance="made by a test",
    )  # fmt: skip
    return Package(Path("made"), manifest, {NETWORK_ONNX: content})


def exported(name: str, **config: Any) -> tuple[bytes, int]:
    """A deployed network with weights, statistics and biases that are all different from each other."""
    torch = pytest.importorskip("torch", reason="the extra export is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    from pitviper.core.export import network_onnx
    from pitviper.core.models import create_model

    torch.manual_seed(0)
    network = create_model(name, **config).eval()
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point() and ("norm" in key or "bias" in key):
                value.add_(0.3 * torch.rand_like(value))
        if config:
            _spread(network)
    return network_onnx(network), network.required_multiple


def _spread(network: Any) -> None:
    """Scale the heads, which begin at the share of target pixels, so that probabilities lie all over [0, 1]."""
    import torch

    heads = [value for key, value in network.named_parameters() if "head" in key]
    for value in heads:
        if value.ndim < 2:
            value.zero_()
    logits = network(torch.randn(1, 1, 64, 64))
    for value in heads:
        value.mul_(2.0 / logits.std())


def probabilities(content: bytes, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = cpu_session(content, "the test's network", threads=1).run(
        None, {"standardised": frames}
    )[0]
    return found


@pytest.mark.parametrize(("model", "launches"), [("pit-n", 9), ("pit-s", 12)])
def test_shipped_models_become_few_launches(model: str, launches: int) -> None:
    plan = build_plan(sdk.open_model(model))
    assert len(plan.launches) == launches
    # The last launch ends in the head: of four phases where the first stage is packed, else of one plane.
    assert [launch.outputs for launch in plan.launches] == [0] * (launches - 1) + [
        {"pit-n": 4, "pit-s": 1}[model]
    ]
    blocks = [launch for launch in plan.launches if launch.op is Op.RESIDUAL]
    assert len(blocks) == {"pit-n": 2, "pit-s": 3}[model]
    assert build_plan(sdk.open_model(model)).to_bytes() == plan.to_bytes()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("pit-m", {"widths": (16, 32, 48), "depths": (1, 1, 1), "decoder": (2, 1)}),
        ("pit-m", {"widths": (20, 40, 80), "depths": (0, 1, 1), "decoder": (1, 0), "stem": 1}),
        ("pit-n", {"widths": (4, 32, 48), "depths": (0, 0, 2), "decoder": (1, 1), "stem": 1}),
        ("pit-n", {"widths": (4, 32, 128, 144), "depths": (0, 0, 1, 1), "decoder": (2, 1, 1), "stem": 2}),
    ],
)
def test_other_networks_of_the_family_give_what_onnxruntime_gives(name: str, config: dict[str, Any]) -> None:
    content, stride = exported(name, **config)
    frames = np.random.default_rng(1).normal(0, 1, (2, 1, 5 * 8, 7 * 8)).astype(np.float32)
    plan = build_plan(package_of(content, stride))
    expected = probabilities(content, frames)
    assert np.std(expected) > 0.01, "a flat map would compare nothing"
    with FusedRuntime(plan.to_bytes(), device="cpu") as runtime:
        np.testing.assert_allclose(runtime.network(frames), expected, atol=TOLERANCE, rtol=0)
    import torch

    from pitviper.sdk.engines.fused_net import FusedNet

    net = FusedNet(plan, device=torch.device("cpu"), dtype=torch.float32, backend="torch")
    np.testing.assert_allclose(net.run(frames), expected, atol=TOLERANCE, rtol=0)


def test_another_architecture_is_refused_with_what_runs_it() -> None:
    content, stride = exported("acm")
    with pytest.raises(PlanError, match=r"its input .* no space-to-depth.*engine='onnxruntime'"):
        build_plan(package_of(content, stride))


def test_another_normalisation_is_refused() -> None:
    package = sdk.open_model("pit-n")
    other = replace(package.manifest, normalisation="standardise-v9")
    with pytest.raises(PlanError, match="standardise-v9"):
        build_plan(Package(package.path, other, package._bytes))


@pytest.mark.parametrize("cut", [0, 1, 100, 5000, -1])
def test_a_damaged_network_is_refused(cut: int) -> None:
    content = sdk.open_model("pit-n").read(NETWORK_ONNX)[:cut]
    with pytest.raises(PlanError, match=r"network\.onnx"):
        build_plan(package_of(content, 8))


def test_no_change_of_a_byte_breaks_the_reader() -> None:
    content = bytearray(sdk.open_model("pit-n").read(NETWORK_ONNX))
    rng = np.random.default_rng(3)
    # The weights are most of the file; what leads the reader lies at its end, and in the first bytes.
    places = np.concatenate([rng.integers(0, 200, 100), len(content) - 1 - rng.integers(0, 8000, 300)])
    for at in places:
        kept, content[at] = content[at], rng.integers(0, 256)
        with contextlib.suppress(GraphError):
            read_graph(bytes(content))
        content[at] = kept


def test_values_that_live_at_the_same_time_lie_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.integers(1, 3000, 20).tolist()
        lives = [
            (int(a), int(a + b)) for a, b in zip(rng.integers(0, 15, 20), rng.integers(0, 6, 20), strict=True)
        ]
        offsets, whole = place(sizes, lives)
        assert whole < sum(sizes) + 20 * ALIGNMENT
        for i in range(20):
            assert offsets[i] % ALIGNMENT == 0
            assert offsets[i] + sizes[i] <= whole
            for j in range(i):
                together = lives[i][0] <= lives[j][1] and lives[j][0] <= lives[i][1]
                apart = offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]
                assert apart or not together
