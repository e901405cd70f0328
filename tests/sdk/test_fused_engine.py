# SPDX-License-Identifier: Apache-2.0
"""The engine ``torch-fused`` behind `Detector`, without a GPU: its targets against ONNX Runtime's, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.plan import build_plan
from pitviper.core.synthetic import random_scene_frame
from pitviper.kernels import BackendUnavailable, extract_targets

torch: Any = pytest.importorskip("torch", reason="the extra torch is not installed")

from pitviper.sdk.engines.fused_net import FusedNet  # noqa: E402  (imports torch)

ROUNDING = 1e-4
"""Sums of float32 products in another order, see the tests of plans."""
HALF = 0.02
"""A half holds 11 bits: 5e-4 of each of some ten layers' values, on logits of up to ten and a slope of a quarter. For
these scenes; where logits of tens cancel, as at some edges of real targets, a pixel may move by ten times that."""


@pytest.mark.parametrize("model", ["pit-n", "pit-s", "pit-m"])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", ROUNDING), ("fp16", HALF), ("bf16", 8 * HALF)])
def test_the_engine_finds_what_onnxruntime_finds(model: str, precision: str, bound: float) -> None:
    scenes = [random_scene_frame(seed=seed, size=128)[0] for seed in (1, 2, 3, 5, 7, 9, 11)]
    with (
        sdk.Detector(model, engine="onnxruntime", threads=1) as reference,
        sdk.Detector(model, engine="torch-fused", device="cpu", precision=precision) as detector,
    ):
        info = detector.engine_info
        assert (info.name, info.device, info.precision) == ("torch-fused", "cpu", precision)
        found = [
            (detector.detect(frame), reference.detect(frame)) for frame in [*scenes, scenes[0][:97, :75]]
        ]
    certain = counted = 0
    for one, other in found:
        np.testing.assert_allclose(one.score_map, other.score_map, atol=bound, rtol=0)
        assert boxes(one.xyxy, one.area_px) == boxes_above(one.score_map, detector.threshold)
        # A pixel as near to the threshold as the two may differ can lie on either side, whatever the weights.
        low, high = (boxes_above(other.score_map, detector.threshold + off) for off in (-bound, bound))
        assert low & high <= boxes(one.xyxy, one.area_px)
        certain += len(low & high)
        if len(low) == len(high):
            assert len(one) == len(other)
            counted += len(other)
    assert counted >= 2, "too few targets are there whichever way their pixels are rounded"
    # bfloat16 holds 8 bits, so that most borders have a pixel that may cross the threshold.
    assert certain >= (1 if precision == "bf16" else 4), "too few borders have no pixel that may cross"


def boxes(xyxy: NDArray[Any], area: NDArray[Any]) -> set[tuple[float, ...]]:
    """Box and number of pixels of each target."""
    return {(*box, pixels) for box, pixels in zip(xyxy.tolist(), area.tolist(), strict=True)}


def boxes_above(score_map: NDArray[np.float32], threshold: float) -> set[tuple[float, ...]]:
    targets = extract_targets(score_map, threshold=threshold)
    return boxes(targets.xyxy, targets.area)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_gpu_it_runs_only_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("auto", "cuda", "cuda:3"):
        with pytest.raises(sdk.EngineUnavailable, match=r"sees (no|0) CUDA device.*device='cpu'"):
            sdk.Detector("pit-n", engine="torch-fused", device=device)
    with pytest.raises(sdk.InputError, match="set_num_threads"):
        sdk.Detector("pit-n", engine="torch-fused", device="cpu", threads=2)
    with pytest.raises(sdk.EngineUnavailable, match=r"int8.*offers auto, fp32, fp16, bf16"):
        sdk.Detector("pit-n", engine="torch-fused", device="cpu", precision="int8")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    plan = build_plan(sdk.open_model("pit-n"))
    with pytest.raises(BackendUnavailable, match="the tensors are on cpu"):
        FusedNet(plan, device=torch.device("cpu"), dtype=torch.float16, backend="triton")


def test_a_closed_engine_is_refused() -> None:
    detector = sdk.Detector("pit-n", engine="torch-fused", device="cpu")
    detector.close()
    detector.close()
    with pytest.raises(sdk.EngineError, match="closed"):
        detector.detect(np.zeros((64, 64), np.uint16))
