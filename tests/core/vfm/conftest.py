# SPDX-License-Identifier: Apache-2.0
"""timm, and no way to the network."""

from __future__ import annotations

import importlib
import importlib.util
import socket
from typing import Any

import pytest
import torch

_KEPT: list[torch.library.Library] = []


@pytest.fixture(scope="session")
def timm() -> Any:
    """timm, or the reason why it is not here."""
    for package in ("torchvision", "timm"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; pip install 'pitviper[train]' brings it")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # A torchvision built for CUDA beside a CPU torch lacks its native operators. timm imports it for picture
        # transforms and needs none of them here, so declaring their names is enough.
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)  # a library that is collected takes its names away
    return importlib.import_module("timm")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
