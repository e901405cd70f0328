# SPDX-License-Identifier: Apache-2.0
"""Descriptors of pictures: all of them, finite where they exist, and each reacting to what it is named after."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pitviper.core.datasets import Sample
from pitviper.train.clusters import texture
from pitviper.train.clusters.descriptors import describe, descriptor_table, to_gray

RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 10, (64, 80))
CLOUDS = ndimage.gaussian_filter(RNG.normal(0, 10, (64, 80)), 4) * 12
COLUMNS = np.mgrid[:64, :80][1]


def gray(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(100 + values), 0, 255).astype(np.uint8)


def test_all_of_them() -> None:
    found = describe(gray(NOISE + CLOUDS))
    assert len(found) == 55
    assert [name for name, value in found.items() if not np.isfinite(value)] == []
    assert (found["width"], found["height"]) == (80, 64)
    assert list(found) == list(describe(gray(CLOUDS)))


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("mean", NOISE + 50, NOISE),
        ("std", NOISE * 2, NOISE),
        ("dynamic_range", NOISE * 2, NOISE),
        ("entropy", NOISE * 2, NOISE),
        ("gini", NOISE * 3, NOISE),
        ("skewness", np.maximum(NOISE, 0), np.minimum(NOISE, 0)),
        ("kurtosis", np.where(np.abs(NOISE) > 25, NOISE * 3, 0), NOISE),
        ("laplacian_variance", NOISE, CLOUDS),
        ("tenengrad", NOISE, CLOUDS),
        ("edge_anisotropy", 20 * np.sin(COLUMNS), NOISE),
        ("orientation_entropy", NOISE, 20 * np.sin(COLUMNS)),
        ("edge_density", 60 * np.sign(np.sin(COLUMNS / 3)), CLOUDS),
        ("peak_density", NOISE, CLOUDS),
        ("glcm_contrast", NOISE, CLOUDS),
        ("glcm_homogeneity", CLOUDS, NOISE),
        ("lbp_entropy", NOISE, NOISE * 0),
        ("gabor_anisotropy", 20 * np.sin(COLUMNS * 2 * np.pi / 4), NOISE),
        ("psd_slope", NOISE, CLOUDS),
        ("psd_high", NOISE, CLOUDS),
        ("psd_centroid", NOISE, CLOUDS),
        ("psd_flatness", NOISE, CLOUDS),
        ("scale_ratio", CLOUDS, NOISE),
        ("noise", NOISE * 2, NOISE),
        ("shading", NOISE + COLUMNS, NOISE),
        ("highlight_99", np.where(NOISE > 20, NOISE * 3, NOISE), NOISE),
        ("otsu_variance", 40 * np.sign(CLOUDS), NOISE),
    ],
)
def test_each_reacts_to_its_name(name: str, more: NDArray[np.float64], less: NDArray[np.float64]) -> None:
    assert describe(gray(more))[name] > describe(gray(less))[name]


def test_constant_frames_have_some() -> None:
    found = describe(np.full((40, 40), 7, np.uint8))
    missing = {name for name, value in found.items() if np.isnan(value)}
    assert {"skewness", "otsu", "psd_slope"} <= missing
    assert found["mean"] == 7
    assert found["edge_density"] == 0


def test_deep_frames_do_not_depend_on_gain_and_offset() -> None:
    counts = np.rint(5000 + 40 * NOISE + 100 * CLOUDS).astype(np.int64)
    first = describe(counts.astype(np.uint16))
    other = describe((counts * 3 + 700).astype(np.uint16))
    assert all(value == pytest.approx(other[name], rel=1e-6, abs=1e-9) for name, value in first.items())
    assert to_gray(counts.astype(np.uint16)).max() <= 255
    assert np.array_equal(to_gray(gray(NOISE)), gray(NOISE))


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    found = []
    for index in range(3):
        path = tmp_path / f"{index}.png"
        Image.fromarray(gray(NOISE * (1 + index))).save(path)
        found.append(Sample(str(index), path, None))
    return found


def test_the_cache_is_read_and_completed(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "descriptors.json"
    names, table = descriptor_table(samples[:2], cache)
    assert table.shape == (2, 55)
    computed = []
    monkeypatch.setattr(
        "pitviper.train.clusters.descriptors.describe",
        lambda frame: computed.append(1) or describe(frame),
    )
    again_names, again = descriptor_table(samples, cache)
    assert len(computed) == 1
    assert again_names == names
    assert np.array_equal(again[:2], table)
    descriptor_table(samples, cache)
    assert len(computed) == 1
    content = json.loads(cache.read_text())
    cache.write_text(json.dumps(content | {"version": 0}))
    descriptor_table(samples, cache)
    assert len(computed) == 4, "another version of the definitions is not believed"
    cache.write_text("{")
    with pytest.raises(ValueError, match="delete it"):
        descriptor_table(samples, cache)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage.feature", None)
    with pytest.raises(ImportError, match=r"need scikit-image .*pip install 'pitviper\[train\]'"):
        texture.auto_canny(gray(NOISE).astype(float))
