# SPDX-License-Identifier: Apache-2.0
"""The operations in CUDA C++ that `kernels.py` measures, on memory of torch: launches on its stream, or host bodies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from kernel_cases import Case, Results, Tensors
from torch import Tensor
from whole_frame import standardised

from pitviper.kernels import extract_targets, native, standardise
from pitviper.kernels.conv_block.host_impl import input_arguments, pack_weights
from pitviper.kernels.extract_targets import cuda_impl as extraction
from pitviper.kernels.extract_targets.cost import extract_targets_cost
from pitviper.kernels.residual_block.cost import residual_block_cost
from pitviper.kernels.standardise import cuda_impl as standardisation
from pitviper.kernels.standardise.cost import standardise_cost

STRIDE = 16
THRESHOLD = 0.5
MOST_TARGETS = 256
_NUMPY = {
    torch.float16: np.float16,
    torch.float32: np.float32,
    torch.uint16: np.uint16,
    torch.uint8: np.uint8,
}


class Placed:
    """A tensor in the words of NumPy in which arguments of kernels are put together; it may lie on a GPU."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.ndim = tuple(tensor.shape), tensor.ndim
        self.dtype = np.dtype(_NUMPY[tensor.dtype])
        self.strides = tuple(step * tensor.element_size() for step in tensor.stride())
        self.ctypes = SimpleNamespace(data=tensor.data_ptr())


def _placed(tensor: Tensor) -> Any:
    return Placed(tensor)


def _queue(name: str, arguments: dict[str, Any], beside: Tensor) -> None:
    """Call the compiled module: on torch's stream where ``beside`` lies on a GPU, else the host body."""
    call = getattr(native.load(), name)
    phases = (False,) if name.endswith("_phases") else ()
    if beside.is_cuda:
        call(arguments, *phases, stream=torch.cuda.current_stream(beside.device).cuda_stream)
    else:
        call(arguments, *phases)


def _residual(channels: int) -> Case:
    """Two 3x3 convolutions and the shortcut, whose map between stays on the chip."""

    def prepare(tensors: Tensors) -> Tensors:
        x = tensors["x"]
        for name in ("weight1", "weight2"):
            plain = tensors[name].float().contiguous().cpu().numpy()
            packed = pack_weights(plain, _NUMPY[x.dtype])
            tensors[f"packed {name}"] = torch.from_numpy(packed.copy()).to(x.device)
        return tensors

    def ours(tensors: Tensors, backend: str) -> Results:
        x = tensors["x"].permute(0, 2, 3, 1)
        out = torch.empty_like(x)
        arguments = input_arguments(_placed(x), channels) | {
            "channels": channels,
            "shortcut": True,
            "weight1": tensors["packed weight1"].data_ptr(),
            "bias1": tensors["bias1"].data_ptr(),
            "weight2": tensors["packed weight2"].data_ptr(),
            "bias2": tensors["bias2"].data_ptr(),
            "output": out.data_ptr(),
        }
        _queue("residual_block", arguments, x)
        return (out.permute(0, 3, 1, 2),)

    def eager(tensors: Tensors) -> Results:
        x, kind = tensors["x"], tensors["weight1"].dtype
        between = F.relu(F.conv2d(x, tensors["weight1"], tensors["bias1"].to(kind), padding=1))
        return (F.relu(x + F.conv2d(between, tensors["weight2"], tensors["bias2"].to(kind), padding=1)),)

    square = (channels, channels, 3, 3)
    return Case(
        f"residual_block, {channels} channels",
        "residual_block",
        lambda b, h, w: {
            "x": (b, channels, h, w),
            "weight1": square,
            "bias1": (channels,),
            "weight2": square,
            "bias2": (channels,),
        },
        ours,
        eager,
        lambda b, h, w: residual_block_cost((b, h, w, channels)),
        compiled=True,
        prepare=prepare,
    )


def _frames(batch: int, rows: int, columns: int) -> Tensor:
    """uint16 [B, H, W] with noise and a slope, as a sensor gives them."""
    random = np.random.default_rng(0)
    frames = random.normal(7800, 12, (batch, rows, columns)) + np.linspace(0, 400, rows)[:, None]
    return torch.from_numpy(frames.astype(np.uint16))


def _to_standardise(tensors: Tensors) -> Tensors:
    """The frames, and a tensor that says in which type the result is wanted."""
    like = tensors["like"]
    frames = _frames(*like.shape).to(like.device)
    return {"like": like[..., :0], "frames": frames, "counts": frames.view(torch.int16)}


def _standardise(tensors: Tensors, backend: str) -> Results:
    frames, dtype = tensors["frames"], tensors["like"].dtype
    batch, rows, columns = frames.shape
    shape = (rows + -rows % STRIDE, columns + -columns % STRIDE)
    out = torch.empty((batch, *shape, 1), dtype=dtype, device=frames.device)
    statistics = torch.empty(
        batch * standardisation.STATISTICS.itemsize, dtype=torch.uint8, device=frames.device
    )
    arguments = standardisation.arguments(_placed(frames), _placed(out), shape, _placed(statistics))
    needed = native.load().standardise_phases_bytes(arguments)
    workspace = torch.empty(needed, dtype=torch.uint8, device=frames.device)
    places = {"workspace": workspace.data_ptr(), "workspace_bytes": needed}
    _queue("standardise_phases", arguments | places, frames)
    return (out[:, None, ..., 0],)


def _standardise_eager(tensors: Tensors) -> Results:
    return (standardised(tensors["counts"], STRIDE).to(tensors["like"].dtype),)


def _standardise_exact(tensors: Tensors) -> Results:
    frames = tensors["frames"].cpu().numpy()
    exact = np.stack([standardise(frame, stride=STRIDE, backend="numpy") for frame in frames])
    return (torch.from_numpy(exact[:, None]).double().to(tensors["like"].device),)


def _to_extract(tensors: Tensors) -> Tensors:
    """Logits of a quiet map with ten bright squares of 1 to 5 pixels' side in each, and the frames behind it."""
    logits = tensors["logits"].float() - 8
    random = np.random.default_rng(0)
    for index, image in enumerate(logits):
        for place in range(10):
            side = 1 + (index + place) % 5
            row, column = (int(random.integers(0, length - side)) for length in image.shape)
            image[row : row + side, column : column + side] = 4 + 0.1 * place
    kind, device = tensors["logits"].dtype, tensors["logits"].device
    return {"logits": logits.to(kind), "frames": _frames(*logits.shape).to(device)}


def _extract(tensors: Tensors, backend: str) -> Results:
    """Records in host memory, as bytes; `_records` reads them."""
    logits = tensors["logits"]
    arguments = extraction.arguments(
        _placed(logits), _placed(tensors["frames"]), THRESHOLD, logits=True, max_targets=MOST_TARGETS
    )
    needed, each = native.load().extract_targets_phases_bytes(arguments)
    output = torch.empty((len(logits), each), dtype=torch.uint8, device=logits.device)
    workspace = torch.empty(needed, dtype=torch.uint8, device=logits.device)
    places = {
        "output": output.data_ptr(),
        "workspace": workspace.data_ptr(),
        "workspace_bytes": needed,
    }
    _queue("extract_targets_phases", arguments | places, logits)
    return (output.cpu(),)


def _records(found: Results) -> Results:
    batch = extraction.batch_of(found[0].numpy())
    return tuple(_table(batch.targets(index)) for index in range(len(batch.headers)))


def _extract_eager(tensors: Tensors) -> Results:
    """PyTorch has no components: the map is copied back, and the host finds them."""
    maps, frames = torch.sigmoid(tensors["logits"].float()).cpu().numpy(), tensors["frames"].cpu().numpy()
    found = (
        extract_targets(one, frame, THRESHOLD, max_targets=MOST_TARGETS)
        for one, frame in zip(maps, frames, strict=True)
    )
    return tuple(_table(each) for each in found)


def _extract_exact(tensors: Tensors) -> Results:
    maps = torch.sigmoid(tensors["logits"].double()).float().cpu().numpy()
    frames = tensors["frames"].cpu().numpy()
    return tuple(
        _table(extract_targets(one, frame, THRESHOLD, max_targets=MOST_TARGETS, backend="numpy"))
        for one, frame in zip(maps, frames, strict=True)
    )


def _table(targets: Any) -> Tensor:
    """A row for each target: centroid, box, area, peak, mean, contrast (0 where there is none)."""
    columns = (targets.area, targets.peak, targets.mean, np.nan_to_num(targets.snr))
    return torch.from_numpy(np.column_stack([targets.xy, targets.xyxy, *columns]).astype(np.float64))


COMPILED_CASES = (
    *(_residual(channels) for channels in (16, 32, 48, 64)),
    Case(
        "standardise, uint16 frames",
        "standardise",
        lambda b, h, w: {"like": (b, h, w)},
        _standardise,
        _standardise_eager,
        lambda b, h, w: _times(b, standardise_cost((h, w), stride=STRIDE)),
        compiled=True,
        prepare=_to_standardise,
        exact=_standardise_exact,
    ),
    Case(
        "extract_targets, logits to records",
        "extract_targets",
        lambda b, h, w: {"logits": (b, h, w)},
        _extract,
        _extract_eager,
        lambda b, h, w: extract_targets_cost((b, h, w), max_targets=MOST_TARGETS),
        compiled=True,
        prepare=_to_extract,
        exact=_extract_exact,
        decode=_records,
        compiles=False,
    ),
)


def _times(batch: int, cost: Any) -> Any:
    return sum((cost for _ in range(1, batch)), cost)
