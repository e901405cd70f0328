# SPDX-License-Identifier: Apache-2.0
"""Settings of the recipes that learn from one point for each target, with the defaults of the papers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pitviper.train.config import DetectorConfig

DERIVED = ("centroid", "coarse")
APPLICATIONS = ("post", "sequential")
BRANCH_STATISTICS = ("separate", "shared")
REGIONS = ("all", "targets")


@dataclass(frozen=True)
class PointConfig(DetectorConfig):
    """What every recipe that learns from points has.

    Attributes:
        points: "centroid" or "coarse", derived from the masks of the train split, which then serve for diagnosis only;
            or a file or folder as in ``points.files.read_points``.
        polarity: Targets are "bright", "dark" or "both"; see ``points.initial.initial_mask``.
        outline: First masks by a "level" set, see ``points.level``, or by closed "edges", as published.
        least_share: Share of the points of a frame that need an outline for it to be trained with at once.
        start: Share of the run with first masks and easy frames alone; 0.2 in the papers.
        mine_until: Share of the run up to which waiting frames are admitted; 0.8 in the papers.
        interval: Share of the run between two updates of the labels.
        protect: The whole "initial" mask stays target for ever, as published, or the "points" alone do.
        decay: What a label keeps where the network sees no target.
        area_share: Share of a frame at which a target is large to the update rule.
        largest_threshold: Of the update rule, as a share of the largest probability around a target; 0 for none, as
            published, with which a target of more than twice ``area_share`` never grows.
        iou_weight: Weight of the soft IoU in the loss; the papers have none.
    """

    points: str = "centroid"
    polarity: str = "bright"
    outline: str = "level"
    least_share: float = 0.8
    start: float = 0.7
    mine_until: float = 0.9
    interval: float = 1 / 80
    protect: str = "initial"
    decay: float = 0.97
    area_share: float = 0.0015
    largest_threshold: float = 0.95
    keep: float = 0.5
    iou_weight: float = 1.0

    @property
    def unmasked(self) -> bool:
        """Whether frames to train with may be without a mask: where points come from a file."""
        return self.points not in DERIVED

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.synthetic:
            raise ValueError(
                f"{self.recipe} takes no --synthetic frames: their masks are exact, and points would throw "
                "them away"
            )
        of_masks = [name for name in ("mine", "missed", "plant") if getattr(self, name)]
        if of_masks:
            raise ValueError(
                f"{self.recipe} takes no --{of_masks[0]}: its frames are known by their points alone"
            )
        if not 0.0 < self.decay <= 1.0 or self.area_share <= 0.0 or self.iou_weight < 0.0:
            raise ValueError(
                "decay must be above 0 and at most 1, area_share above 0 and iou_weight at least 0, got "
                f"{self.decay}, {self.area_share} and {self.iou_weight}"
            )
        if not 0.0 <= self.largest_threshold <= 1.0:
            raise ValueError(f"largest_threshold is a share from 0 (none) to 1, got {self.largest_threshold}")


@dataclass(frozen=True)
class PALConfig(PointConfig):
    """Progressive active learning (Yu et al., ICCV 2025): labels evolve, frames are admitted, no foundation model."""

    recipe: ClassVar[str] = "pal"


@dataclass(frozen=True)
class LESPSConfig(PointConfig):
    """Label evolution with single point supervision (Ying et al., CVPR 2023), for comparison.

    All frames from the start, labels that begin as points and are trained with as they are, no decay.

    Attributes:
        start_loss: Labels are updated once the mean loss of an epoch was below it.
    """

    recipe: ClassVar[str] = "lesps"

    outline: str = "edges"
    protect: str = "points"
    decay: float = 1.0
    start: float = 0.0
    mine_until: float = 0.8
    largest_threshold: float = 0.0
    iou_weight: float = 0.0
    start_loss: float = 10.0


@dataclass(frozen=True)
class SemanticPriorsConfig(PointConfig):
    """Learning with Semantic Priors (arXiv 2605.14346): a teacher with SCAM, and the plain network as the student.

    Attributes:
        vfm: Foundation model, as in ``FDEPConfig``.
        vfm_weights: Local file of its weights.
        levels: Blocks whose outputs are averaged, rising; empty for all of them.
        vfm_scale: The foundation model sees crops enlarged so many times, as of ``core.vfm.FrozenVFM``.
        strength: s of SCAM; below 0 the default for the depth of the network, 0 leaves SCAM out.
        application: SCAM after the whole encoder ("post") or stage by stage ("sequential").
        level_norm: 1: the tokens of each block are normalised before they are averaged; 0: not, as published.
        zero_start: 1: the teacher starts as the student; 0: SCAM's last layer is drawn at random, as published.
        gate_weight: Weight of the mean |gate| of SCAM.
        distillation: Weight of the distillation term.
        distillation_scale: Factor of that term; 16 is the square of its temperature, 1 as published.
        distillation_region: Over "all" pixels, or those around "targets" of the label and the teacher.
        student_weight: Weight of the student's own loss; 0 as published.
        statistics: Of the batch norms: one set for each branch ("separate"), or one for both ("shared").
        bilevel: How clusters of images get their weights: "unrolled", "gn" or "none".
        bilevel_steps: Upper steps at each interval.
        alpha_lr: Learning rate of the cluster parameters.
        outer_lr: Rate of the student's plain gradient step on upper frames at each upper step; 0 leaves it out.
        upper_share: Share of the train split that the upper level has to itself. The val split is left to choosing
            and judging.
        upper_until: Share of the run after which weights of clusters stay as they are and the frames of the upper level
            are trained with as all others; 1: never, as published.
        clusters: Number of them; 0 for one to five images or more, at most 32.
        features: Descriptors that the clusters are made of.
    """

    recipe: ClassVar[str] = "semantic_priors"
    hypergradients: ClassVar[tuple[str, ...]] = ("gn", "unrolled", "none")

    interval: float = 1 / 60
    vfm: str = ""
    vfm_weights: str = ""
    levels: tuple[int, ...] = ()
    vfm_scale: int = 1
    strength: float = -1.0
    application: str = "post"
    level_norm: int = 1
    zero_start: int = 1
    gate_weight: float = 0.005
    distillation: float = 0.1
    distillation_scale: float = 16.0
    distillation_region: str = "all"
    student_weight: float = 1.0
    statistics: str = "separate"
    bilevel: str = "unrolled"
    bilevel_steps: int = 4
    alpha_lr: float = 1e-2
    outer_lr: float = 5e-4
    upper_share: float = 1 / 6
    upper_until: float = 0.5
    clusters: int = 0
    features: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = {
            "application": APPLICATIONS,
            "distillation_region": REGIONS,
            "statistics": BRANCH_STATISTICS,
            "bilevel": self.hypergradients,
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}, got {getattr(self, name)!r}")
        if not 0.0 < self.upper_share < 1.0:
            raise ValueError(
                f"upper_share is a share of the frames above 0 and below 1, got {self.upper_share}"
            )
        if not 0.0 < self.upper_until <= 1.0:
            raise ValueError(
                f"upper_until is a share of the run above 0 and at most 1, got {self.upper_until}"
            )
        weights = (self.gate_weight, self.distillation, self.distillation_scale, self.student_weight)
        if min(*weights, self.outer_lr) < 0.0:
            raise ValueError("weights of the loss and outer_lr must be at least 0")
        if min(self.bilevel_steps, self.features) < 1 or self.clusters < 0:
            raise ValueError("bilevel_steps and features must be at least 1, and clusters at least 0")


@dataclass(frozen=True)
class SPReferenceConfig(SemanticPriorsConfig):
    """What the published code of ``semantic_priors`` does, its errors included, for comparison only.

    Beside the other defaults, "reference" as ``bilevel`` stands for the published upper step
    (``reference_bilevel.py``), ``outer_lr`` is the rate of all that it changes, ``alpha_lr`` is ignored as there, the
    labels of the upper frames evolve, both branches run the whole network and update one set of statistics, and
    ``clusters`` is no more than there are different frames. Data, schedule, moving average and choice of the epoch are
    those of the other recipes.
    """

    recipe: ClassVar[str] = "sp_reference"
    hypergradients: ClassVar[tuple[str, ...]] = ("reference", "none")

    outline: str = "edges"
    start: float = 0.2
    mine_until: float = 0.8
    protect: str = "initial"
    largest_threshold: float = 0.0
    keep: float = 1.0
    iou_weight: float = 0.0
    level_norm: int = 0
    zero_start: int = 0
    distillation_scale: float = 1.0
    student_weight: float = 0.0
    upper_until: float = 1.0
    statistics: str = "shared"
    bilevel: str = "reference"
    clusters: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.statistics != "shared" or self.distillation_region != "all" or self.outer_lr <= 0.0:
            raise ValueError(
                "sp_reference has shared statistics, a distillation over all pixels and an outer_lr above 0; take "
                "semantic_priors for others"
            )


POINT_RECIPES: dict[str, type[DetectorConfig]] = {
    c.recipe: c for c in (PALConfig, LESPSConfig, SemanticPriorsConfig, SPReferenceConfig)
}
"""Settings of the recipes that learn from points, by the name of the recipe."""
