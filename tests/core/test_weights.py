# SPDX-License-Identifier: Apache-2.0
"""A package brings a network back bit by bit, or says why not."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pitviper.core import weights
from pitviper.core.manifest import Manifest, OperatingPoint, Package, PackageError, read_package
from pitviper.core.models import DetectorNetwork, create_model
from pitviper.core.weights import describe_architecture, load_model, write_package
from pitviper.kernels import NORMALISATION


def manifest_of(network: DetectorNetwork, name: str = "pit-n") -> Manifest:
    return Manifest(
        name="test",
        architecture=describe_architecture(name, network),
        normalisation="",
        stride=0,
        operating_points=(OperatingPoint("default", 0.5, "none", None, 0.0, 0.0),),
        metrics={},
        training={},
        data=(),
        licence="CC0",
        provenance="random",
    )


@pytest.fixture
def fast_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the two graphs, for tests that are about files."""
    monkeypatch.setattr(weights, "network_onnx", lambda network: b"network")
    monkeypatch.setattr(weights, "detector_onnx", lambda inner, *, stride: b"detector")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, network: DetectorNetwork) -> Package:
    return write_package(tmp_path_factory.mktemp("w") / "pit", network, manifest_of(network))


def test_round_trip(package: Package, network: DetectorNetwork) -> None:
    manifest = package.manifest
    assert (manifest.normalisation, manifest.stride) == (NORMALISATION, network.required_multiple)
    assert sorted(manifest.files) == ["model.onnx", "model.safetensors", "network.onnx"]
    loaded = load_model(package.path)
    assert not loaded.training
    assert loaded.config == network.config, "tuples come back as tuples, not as JSON lists"
    for (key, a), (other, b) in zip(network.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert key == other
        assert torch.equal(a, b)
    x = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))


def test_graph_of_the_package_is_the_deployed_network(package: Package, network: DetectorNetwork) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(package.read("network.onnx"), providers=["CPUExecutionProvider"])
    x = torch.randn(2, 1, 48, 64, generator=torch.Generator().manual_seed(3))
    found = torch.from_numpy(session.run(None, {"standardised": x.numpy()})[0])
    with torch.inference_mode():
        expected = torch.sigmoid(network(x))
    # Probabilities of fp32 networks whose sums run in another order; the logits differ by some 1e-6 of their range.
    assert float((found - expected).abs().max()) < 2e-5


@pytest.mark.usefixtures("fast_graphs")
def test_zip_form(tmp_path: Path, network: DetectorNetwork) -> None:
    path = tmp_path / "new" / "pit.zip"
    write_package(path, network, manifest_of(network))
    with zipfile.ZipFile(path) as archive:
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    assert load_model(path).state_dict().keys() == network.state_dict().keys()
    write_package(path, network, replace(manifest_of(network), name="second"))
    assert read_package(path).manifest.name == "second"
    assert os.listdir(path.parent) == ["pit.zip"]


@pytest.mark.usefixtures("fast_graphs")
def test_an_own_package_is_replaced_and_nothing_is_left_beside(
    tmp_path: Path, network: DetectorNetwork
) -> None:
    path = tmp_path / "pit"
    path.mkdir()
    for name in ("first", "second"):
        write_package(path, network, replace(manifest_of(network), name=name))
    assert read_package(path).manifest.name == "second"
    assert os.listdir(tmp_path) == ["pit"]


@pytest.mark.usefixtures("fast_graphs")
def test_foreign_content_is_never_replaced(tmp_path: Path, network: DetectorNetwork) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"dear")
    archive = tmp_path / "letters.zip"
    archive.write_bytes(b"dearer")
    for path in (folder, archive, folder / "photo.jpg"):
        with pytest.raises(PackageError, match=r"exists and is no weights package; choose another path"):
            write_package(path, network, manifest_of(network))
    assert (folder / "photo.jpg").read_bytes() == b"dear"
    assert archive.read_bytes() == b"dearer"


@pytest.mark.parametrize("name", ["pit", "pit.zip"])
@pytest.mark.usefixtures("fast_graphs")
def test_a_failure_half_way_leaves_the_old_package(
    tmp_path: Path, network: DetectorNetwork, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    write_package(path, network, replace(manifest_of(network), name="old"))
    real, calls = Path.write_bytes, 0

    def full_disk(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        return real(*arguments) if isinstance(arguments[0], Path) else 0

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_package(path, network, replace(manifest_of(network), name="new"))
    monkeypatch.undo()
    assert read_package(path).manifest.name == "old"
    assert os.listdir(tmp_path) == [name]


def rewritten(package: Package, **architecture: object) -> Package:
    changed = package.manifest.architecture | architecture
    return replace(package, manifest=replace(package.manifest, architecture=changed))


def test_weights_of_another_version(package: Package) -> None:
    with pytest.raises(
        PackageError, match=r"weights for pit-n version 0, this pitviper has version .*install the"
    ):
        load_model(rewritten(package, version="0"))


def test_weights_that_do_not_fit_the_architecture(package: Package) -> None:
    config = package.manifest.architecture["config"] | {"widths": [8, 16, 32, 48]}
    with pytest.raises(PackageError, match=r"model\.safetensors does not fit"):
        load_model(rewritten(package, config=config))


def test_architecture_of_a_three_plane_network() -> None:
    network = create_model("acm", in_channels=3)
    described = describe_architecture("acm", network)
    assert described["config"] == {**described["config"], "in_channels": 3}  # type: ignore[dict-item]
    assert create_model("acm", **described["config"]).config == network.config  # type: ignore[arg-type]
