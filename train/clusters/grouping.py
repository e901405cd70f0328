# SPDX-License-Identifier: Apache-2.0
"""Groups of training images by their descriptors, and the group of an image that was not there.

Source: "Learning with Semantic Priors" (arXiv 2605.14346), which fits on all images, those of the test split included;
here only those that are given count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.train.extras import library

Table = NDArray[np.float64]
Labels = NDArray[np.int64]

_LEAST_VARIANCE = 1e-10
_LARGEST_CORRELATION = 0.95
_EXPLAINED = 0.9
_COMPONENTS = (2, 20)
_ITERATIONS = 300
# The published code takes the first start, which among few clusters is often a bad one.
_STARTS = 10
_PER_CLUSTER = 5


@dataclass(frozen=True)
class Clusters:
    """A fitted grouping.

    Attributes:
        names: Descriptors that it uses.
        columns: Their places in a row of the table that it was fitted on.
        medians: What stands for a descriptor that an image does not have.
        mean: Subtracted from each descriptor.
        scale: Divides each descriptor afterwards.
        components: Principal components [C, F].
        centres: [K, C].
        labels: Cluster of each row that it was fitted on.
        missing: NaN that were replaced by medians.
    """

    names: tuple[str, ...]
    columns: NDArray[np.int64]
    medians: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    components: NDArray[np.float64]
    centres: NDArray[np.float64]
    labels: Labels
    missing: int

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Images of each cluster; one of a single image is a cluster as any other."""
        return np.bincount(self.labels, minlength=len(self))

    def assign(self, table: Table) -> Labels:
        """Cluster with the nearest centre for each row [F] of descriptors, in the table's own columns."""
        chosen = table[:, self.columns]
        chosen = np.where(np.isnan(chosen), self.medians, chosen)
        places = (chosen - self.mean) / self.scale @ self.components.T
        distances = np.square(places[:, None] - self.centres[None]).sum(axis=2)
        labels: Labels = distances.argmin(axis=1)
        return labels

    def sha256(self) -> str:
        """Hash of descriptors and labels, by which a resumed run knows its clusters."""
        return hashlib.sha256(f"{self.names} {self.labels.tolist()}".encode()).hexdigest()


def default_clusters(images: int) -> int:
    """At most 32, and on average five images or more in each."""
    return max(1, min(32, images // _PER_CLUSTER))


def count_different(table: Table) -> int:
    """Different rows of a table of descriptors, which is as many clusters as there can be."""
    return len(np.unique(np.nan_to_num(table, nan=-1e300), axis=0))


def fit_clusters(
    names: Sequence[str], table: Table, *, clusters: int, features: int = 32, seed: int = 1
) -> Clusters:
    """Group the rows of a table of descriptors; the same rows in another order give the same groups.

    Twice: missing values become medians, constant columns and the lesser of two that nearly repeat each other are
    dropped, columns are standardised, principal components of 90 % of the variance are kept, and k-means groups. The
    second time with those columns alone that tell the first groups best (mutual information).

    Args:
        names: Of the columns.
        table: [N, D]; NaN where an image does not have a descriptor.
        clusters: K.
        features: Columns that the second time keeps.
        seed: Of k-means and of the estimate of mutual information.

    Raises:
        ValueError: More clusters than different images, or fewer than one.
        ImportError: scikit-learn cannot be imported.
    """
    different = count_different(table)
    if not 1 <= clusters <= different:
        raise ValueError(
            f"{clusters} clusters for {different} different images; take from 1 to as many as there are images, and "
            "several images for each"
        )
    # Seeded k-means depends on the order of its rows, so it gets them in their own.
    order = np.lexsort(np.nan_to_num(table, nan=-1e300).T[::-1])
    rows = table[order]
    first = _fit_once(rows, np.arange(rows.shape[1]), clusters, seed)
    second = _fit_once(rows, _most_telling(rows, first, features, seed), clusters, seed)
    labels = np.empty(len(table), np.int64)
    labels[order] = second.labels
    return Clusters(
        names=tuple(names[c] for c in second.columns),
        columns=second.columns,
        medians=second.medians,
        mean=second.mean,
        scale=second.scale,
        components=second.components,
        centres=second.centres,
        labels=labels,
        missing=int(np.isnan(table).sum()),
    )


def _fit_once(rows: Table, candidates: NDArray[np.int64], clusters: int, seed: int) -> Clusters:
    present = candidates[~np.isnan(rows[:, candidates]).all(axis=0)]
    medians = np.nanmedian(rows[:, present], axis=0)
    filled = np.where(np.isnan(rows[:, present]), medians, rows[:, present])
    kept = _informative(filled)
    filled, columns, medians = filled[:, kept], present[kept], medians[kept]
    mean, scale = filled.mean(axis=0), filled.std(axis=0)
    normal = (filled - mean) / scale
    components = _principal(normal, seed)
    places = normal @ components.T
    found = (
        sklearn("cluster")
        .KMeans(clusters, n_init=_STARTS, max_iter=_ITERATIONS, random_state=seed)
        .fit(places)
    )
    centres = np.asarray(found.cluster_centers_, np.float64)
    # As `assign` does it, so that an image of the training has one cluster however it is asked for.
    labels: Labels = np.square(places[:, None] - centres[None]).sum(axis=2).argmin(axis=1)
    return Clusters((), columns, medians, mean, scale, components, centres, labels, 0)


def _informative(filled: Table) -> NDArray[np.int64]:
    """Columns that vary, without the one of lower variance of each pair that nearly repeats the other."""
    variance = filled.var(axis=0)
    varying = np.flatnonzero(variance > _LEAST_VARIANCE)
    kept: list[int] = []
    for column in sorted(varying, key=lambda c: (-variance[c], c)):
        others = [abs(np.corrcoef(filled[:, column], filled[:, other])[0, 1]) for other in kept]
        if not others or max(others) < _LARGEST_CORRELATION:
            kept.append(int(column))
    return np.array(sorted(kept), np.int64)


def _principal(normal: Table, seed: int) -> NDArray[np.float64]:
    """Components [C, F] of 90 % of the variance, from 2 to 20 as far as there are so many."""
    most = min(*normal.shape, _COMPONENTS[1])
    if most < 1:
        # All images are alike: one place for all.
        return np.zeros((1, normal.shape[1]))
    found = sklearn("decomposition").PCA(most, random_state=seed).fit(normal)
    enough = int(np.searchsorted(np.cumsum(found.explained_variance_ratio_), _EXPLAINED)) + 1
    components: NDArray[np.float64] = found.components_[: max(enough, min(_COMPONENTS[0], most))]
    return components


def _most_telling(rows: Table, first: Clusters, features: int, seed: int) -> NDArray[np.int64]:
    """Columns of the first grouping in the order of the table, the ``features`` that tell its labels best."""
    if len(first.columns) <= features or (first.sizes < 2).all():
        return first.columns
    selection = sklearn("feature_selection")
    filled = np.where(np.isnan(rows[:, first.columns]), first.medians, rows[:, first.columns])
    normal = (filled - first.mean) / first.scale
    score = selection.mutual_info_classif(normal, first.labels, random_state=seed)
    if 1 < len(np.unique(first.labels)) < len(rows):
        score = score + 1e-6 * np.nan_to_num(selection.f_classif(normal, first.labels)[0], posinf=0.0)
    best = np.argsort(-score, kind="stable")[:features]
    chosen: NDArray[np.int64] = first.columns[np.sort(best)]
    return chosen


def sklearn(part: str) -> Any:
    """A module of scikit-learn.

    Raises:
        ImportError: It cannot be imported; the message names the extra.
    """
    return library(
        f"sklearn.{part}",
        need="clusters of images need scikit-learn",
        otherwise="train with --bilevel none",
    )
