# SPDX-License-Identifier: Apache-2.0
"""How much a frozen model's features tell of targets: a linear probe of its patches, fitted on train, judged on val.

A diagnosis, no recipe: it reads masks, and nothing that is trained sees its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import scipy.stats
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pitviper.core.vfm import FrozenVFM
from pitviper.train.data.augment import AugmentConfig
from pitviper.train.data.crops import CropDataset
from pitviper.train.data.store import StoredFrame

_PENALTY = 1e-3
_BATCH = 32


@dataclass(frozen=True)
class ProbeScore:
    """How well target and background patches of unseen frames are told apart.

    Attributes:
        auc: Area under the ROC curve, in [0, 1]; 0.5 is chance.
        average_precision: Area under the precision-recall curve, in [0, 1]; the share of target patches is chance.
        targets: Target patches that it was judged on.
        patches: All patches that it was judged on.
    """

    auc: float
    average_precision: float
    targets: int
    patches: int

    def to_dict(self) -> dict[str, float | int]:
        """Plain JSON-safe mapping."""
        return asdict(self)


def probe_levels(
    vfm: FrozenVFM,
    train: Sequence[StoredFrame],
    val: Sequence[StoredFrame],
    *,
    side: int = 128,
    negatives: int = 16,
    seed: int = 0,
) -> dict[str, ProbeScore]:
    """Logistic regression of "this patch holds a pixel of a target" on the features of each level, and on all together.

    One crop of each frame, placed over a target where there is one; features are scaled by mean and deviation of the
    train patches.

    Args:
        vfm: The frozen model.
        train: Frames to fit on; of each crop all target patches and a few of the others count.
        val: Frames to judge on; all patches count.
        side: Of the crops, in pixels; a multiple of the patch.
        negatives: Background patches taken of each train crop.
        seed: Of crops and chosen patches.

    Returns:
        Score by level number as text, and under ``"all"`` of the levels' features together.

    Raises:
        ValueError: ``side`` does not fit, or no target patch in train or in val.
    """
    if side % vfm.patch_size:
        raise ValueError(f"side must be a multiple of the patch, {vfm.patch_size} pixels, got {side}")
    fitted, fitted_labels = _features(vfm, train, side=side, seed=seed)
    judged, judged_labels = _features(vfm, val, side=side, seed=seed)
    for name, labels in (("train", fitted_labels), ("val", judged_labels)):
        if not labels.any() or labels.all():
            raise ValueError(f"the {name} frames need patches with and without targets")
    taken = _choose(fitted_labels, negatives, seed)
    scores: dict[str, ProbeScore] = {}
    both = list(zip(map(str, vfm.levels), fitted, judged, strict=True))
    for name, of_train, of_val in (*both, ("all", torch.cat(fitted, 2), torch.cat(judged, 2))):
        logits = _fit_and_apply(of_train[taken], fitted_labels[taken], of_val.flatten(0, 1))
        scores[name] = _score(logits.numpy(), judged_labels.flatten().numpy())
    return scores


def _features(
    vfm: FrozenVFM, frames: Sequence[StoredFrame], *, side: int, seed: int
) -> tuple[list[Tensor], Tensor]:
    """Features [F, N, D] of each level and labels bool [F, N] of the patches of one crop of each frame."""
    plain = AugmentConfig(warp=0.0, photometric=0.0)
    crops = CropDataset(frames, size=side, target_share=1.0, augmentation=plain, seed=seed)
    device = vfm.mean.device
    levels: list[list[Tensor]] = [[] for _ in vfm.levels]
    labels: list[Tensor] = []
    for start in range(0, len(frames), _BATCH):
        items = [crops[0, i] for i in range(start, min(start + _BATCH, len(frames)))]
        images, masks = (torch.stack(parts) for parts in zip(*items, strict=True))
        for kept, features in zip(levels, vfm(images.to(device)), strict=True):
            kept.append(features.flatten(2).transpose(1, 2).cpu())
        labels.append(F.max_pool2d(masks, vfm.patch_size).flatten(1) > 0)
    return [torch.cat(parts) for parts in levels], torch.cat(labels)


def _choose(labels: Tensor, negatives: int, seed: int) -> Tensor:
    """Which patches [F, N] are fitted: all with a target, and at random so many others of each frame."""
    draws = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed))
    draws[labels] = 2.0
    rank = draws.argsort(dim=1, descending=True).argsort(dim=1) - labels.sum(dim=1, keepdim=True)
    return labels | (rank < negatives)


def _fit_and_apply(features: Tensor, labels: Tensor, judged: Tensor) -> Tensor:
    """Logits [M] of ``judged`` [M, D] by logistic regression on ``features`` [K, D] and bool ``labels`` [K]."""
    mean, deviation = features.mean(dim=0), features.std(dim=0) + 1e-6
    inputs = ((features - mean) / deviation).double()
    probe = nn.Linear(features.shape[1], 1).double()
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    target = labels.double()[:, None]
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(probe(inputs), target)
        value = value + _PENALTY * probe.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        logits: Tensor = probe(((judged - mean) / deviation).double())
    return logits[:, 0]


def _score(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> ProbeScore:
    positive = int(labels.sum())
    negative = len(labels) - positive
    ranks = scipy.stats.rankdata(logits)
    auc = (ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative)
    found = labels[np.argsort(-logits, kind="stable")]
    precision = np.cumsum(found) / np.arange(1, len(found) + 1)
    return ProbeScore(float(auc), float(precision[found].mean()), positive, len(labels))
