# SPDX-License-Identifier: Apache-2.0
"""Clusters of images: what is alike comes together, in any order of rows, and nothing that is missing does harm."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.train.clusters.grouping import Clusters, default_clusters, fit_clusters

Table = NDArray[np.float64]


def table(images: int = 60, kinds: int = 5, columns: int = 9) -> tuple[list[str], Table, NDArray[np.int64]]:
    """Rows of ``kinds`` kinds that lie far apart in the first six columns; the others are noise."""
    rng = np.random.default_rng(0)
    kind = rng.integers(kinds, size=images)
    rows = rng.normal(size=(images, columns))
    rows[:, :6] += 20 * rng.normal(size=(kinds, 6))[kind]
    return [f"d{i}" for i in range(columns)], rows, kind


def same_groups(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    return bool(((a[:, None] == a[None]) == (b[:, None] == b[None])).all())


def fit(names: list[str], rows: Table, clusters: int, **settings: int) -> Clusters:
    return fit_clusters(names, rows, clusters=clusters, **settings)


def test_kinds_are_found() -> None:
    names, rows, kind = table()
    found = fit(names, rows, 5)
    assert same_groups(found.labels, kind)
    assert found.sizes.sum() == 60
    assert len(found) == 5


def test_the_order_of_rows_does_not_matter() -> None:
    names, rows, _ = table(kinds=7)
    order = np.random.default_rng(1).permutation(len(rows))
    first, other = fit(names, rows, 8), fit(names, rows[order], 8)
    assert np.array_equal(first.labels[order], other.labels)
    assert fit(names, rows, 8).sha256() == first.sha256() != fit(names, rows, 5).sha256()


def test_new_images_get_the_nearest_cluster() -> None:
    names, rows, _ = table()
    found = fit(names, rows, 5)
    assert np.array_equal(found.assign(rows), found.labels)
    like = rows[:20] + np.random.default_rng(3).normal(0, 0.01, (20, 9))
    assert np.array_equal(found.assign(like), found.labels[:20])


def test_features_that_tell_nothing_are_left_out() -> None:
    names, rows, _ = table()
    found = fit(names, rows, 5, features=6)
    assert found.names == ("d0", "d1", "d2", "d3", "d4", "d5")
    assert found.columns.tolist() == list(range(6))


def test_constant_and_repeated_columns_are_dropped() -> None:
    names, rows, _ = table()
    rows = np.column_stack([rows, np.full(60, 3.0), rows[:, 0] * 0.5, np.full(60, np.nan)])
    found = fit([*names, "constant", "repeated", "missing"], rows, 5)
    assert not {"constant", "repeated", "missing"} & set(found.names)
    assert "d0" in found.names, "of a pair the one of higher variance stays"


def test_missing_numbers_become_medians() -> None:
    names, rows, kind = table()
    rows[3, 2] = rows[7, 7] = np.nan
    found = fit(names, rows, 5)
    assert found.missing == 2
    assert np.isfinite(found.centres).all()
    others = np.setdiff1d(np.arange(60), [3, 7])
    assert same_groups(found.labels[others], kind[others])
    assert found.assign(np.full((1, 9), np.nan)).shape == (1,)


def test_a_cluster_of_one_image() -> None:
    names, rows, _ = table(kinds=2)
    rows[11] = 500.0
    found = fit(names, rows, 5)
    assert found.sizes[found.labels[11]] == 1
    assert np.array_equal(found.assign(rows), found.labels)


def test_as_many_clusters_as_images_and_one() -> None:
    names, rows, _ = table(images=6)
    assert sorted(fit(names, rows, 6).labels) == list(range(6))
    assert not fit(names, rows, 1).labels.any()
    alike = np.ones((4, 9))
    assert not fit(names, alike, 1).labels.any()


def test_refusals() -> None:
    names, rows, _ = table(images=6)
    with pytest.raises(ValueError, match="7 clusters for 6 different images"):
        fit(names, rows, 7)
    with pytest.raises(ValueError, match="5 clusters for 3 different images"):
        fit(names, np.repeat(rows[:3], 2, axis=0), 5)
    with pytest.raises(ValueError, match="0 clusters"):
        fit(names, rows, 0)
    assert [default_clusters(n) for n in (1, 10, 1402)] == [1, 2, 32]
