# SPDX-License-Identifier: Apache-2.0
"""Settings of a training run. One frozen dataclass a recipe; stored with the weights; unknown keys are refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pitviper.train.data.augment import AugmentConfig
from pitviper.train.setting_types import read_setting

Config = TypeVar("Config", bound="TrainingConfig")

OPTIMIZERS = ("adamw", "muon")
STATISTICS = ("separate", "shared", "joint")


@dataclass(frozen=True)
class TrainingConfig:
    """What every recipe has.

    Attributes:
        data: Data set folders; train and val splits are used, background-only folders as negatives. A folder that
            is named twice counts twice in training.
        synthetic: Extra synthetic training frames, whose masks are exact.
        epochs: Passes over the data.
        crops: (share of the run, side in pixels) pairs: each side is used until that share of the epochs is over.
        crops_per_frame: Crops of each frame in one epoch; a larger frame gets the square root of its area, in
            units of 256 x 256 pixels, as many times more.
        batch: Crops per optimiser step, over all processes and parts.
        accumulate: Parts in which each process takes its crops of a step, one after the other, to save memory. Batch
            norms and hard-example mining see one part of one process at a time.
        checkpoint_every: Steps between checkpoints inside an epoch; 0: after each epoch only.
        optimizer: "adamw", or "muon" for the kernels with AdamW for the rest; see ``optimizer.make_optimizer``.
        lr: Peak learning rate, of both.
        weight_decay: Of both; not applied to biases, batch norms and identity branches.
        warmup: Share of the run over which the learning rate rises; a cosine takes it to 1 % afterwards.
        clip: Largest gradient norm.
        ema: Decay of the averaged weights, which are the ones evaluated and kept.
        validate_every: Epochs between evaluations on the val splits; the first and last epoch are always evaluated.
        seed: Seed of initialisation, order, crops and augmentation.
        augmentation: Geometry and sensor effects.
        plain_share: Share of the run, at its end, without warps and sensor effects: turns and flips only, so that the
            network ends on frames as they are.
    """

    recipe: ClassVar[str]

    data: tuple[str, ...] = ()
    synthetic: int = 0
    epochs: int = 220
    crops: tuple[tuple[float, int], ...] = ((0.75, 128), (0.85, 192), (1.0, 256))
    crops_per_frame: int = 1
    batch: int = 16
    accumulate: int = 1
    checkpoint_every: int = 0
    optimizer: str = "adamw"
    lr: float = 1.5e-3
    weight_decay: float = 1e-2
    warmup: float = 0.03
    clip: float = 5.0
    ema: float = 0.999
    validate_every: int = 10
    seed: int = 0
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    plain_share: float = 0.25

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{each.name} must be a finite number, got {value}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.epochs < 1 or self.batch < 1 or self.crops_per_frame < 1:
            raise ValueError(
                "epochs, batch and crops_per_frame must be at least 1, got "
                f"{self.epochs}, {self.batch} and {self.crops_per_frame}"
            )
        if self.accumulate < 1 or self.checkpoint_every < 0:
            raise ValueError(
                f"accumulate must be at least 1 and checkpoint_every at least 0, got {self.accumulate} and "
                f"{self.checkpoint_every}"
            )
        if self.synthetic < 0 or self.clip <= 0.0 or self.weight_decay < 0.0 or self.lr < 0.0:
            raise ValueError(
                "clip (the largest gradient norm) must be above 0, lr, weight_decay and synthetic at least 0, got "
                f"{self.clip}, {self.lr}, {self.weight_decay} and {self.synthetic}"
            )
        if not (0.0 <= self.ema < 1.0 and 0.0 <= self.warmup < 1.0 and 0.0 <= self.plain_share <= 1.0):
            raise ValueError(
                "ema and warmup are at least 0 and below 1, plain_share a share of the run, got "
                f"{self.ema}, {self.warmup} and {self.plain_share}"
            )
        if self.validate_every < 1:
            raise ValueError(
                f"validate_every must be at least 1, got {self.validate_every}; the number of epochs leaves out all "
                "between the first and the last"
            )
        shares = [share for share, _ in self.crops]
        if not shares or shares[-1] != 1.0:
            raise ValueError(f"crops must end with share 1.0, got {self.crops}")
        if any(side < 1 for _, side in self.crops) or any(a >= b for a, b in pairwise((0.0, *shares))):
            raise ValueError(
                f"crops need rising shares above 0 and sides of at least 1 pixel, got {self.crops}"
            )

    @property
    def target_share(self) -> float:
        """Probability that a crop is placed over a target, where the frame has one: 0 without masks."""
        return 0.0

    @property
    def upright(self) -> tuple[str, ...]:
        """Data sets whose crops are neither turned nor mirrored: none without masks."""
        return ()

    @property
    def plant(self) -> float:
        """Probability that a crop gets a target of another frame: 0 without masks."""
        return 0.0

    def crop_at(self, epoch: int) -> int:
        """Side of the crops, in pixels, in an epoch (counted from 0)."""
        return next(size for share, size in self.crops if epoch < share * self.epochs)

    def augmentation_at(self, epoch: int) -> AugmentConfig:
        """Augmentation of an epoch (counted from 0)."""
        return (
            replace(self.augmentation, warp=0.0, photometric=0.0) if self._plain(epoch) else self.augmentation
        )

    def plant_at(self, epoch: int) -> float:
        """Probability that a crop of an epoch (counted from 0) gets one more target."""
        return 0.0 if self._plain(epoch) else self.plant

    def _plain(self, epoch: int) -> bool:
        return epoch >= (1.0 - self.plain_share) * self.epochs

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-safe mapping that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls: type[Config], values: dict[str, Any]) -> Config:
        """Read the mapping of ``to_dict``.

        Raises:
            ValueError: An unknown key, or a value of another type or outside of its range.
        """
        values = dict(values)
        augmentation = values.pop("augmentation", None)
        settings = _read(cls, values, "setting")
        if isinstance(augmentation, AugmentConfig):
            settings["augmentation"] = augmentation
        elif augmentation is not None:
            if not isinstance(augmentation, dict):
                raise ValueError(f"augmentation must be settings by name, got {augmentation!r}")
            found = _read(AugmentConfig, augmentation, "setting of augmentation", prefix="augmentation.")
            settings["augmentation"] = AugmentConfig(**found)
        return cls(**settings)


@dataclass(frozen=True)
class DetectorConfig(TrainingConfig):
    """What every recipe that learns from masks has. The defaults are what the shipped models were trained with.

    Attributes:
        model: Name in ``core.models.list_models()``.
        target_share: Probability that a crop is placed over a target, where the frame has one; in a frame without
            targets over clutter, where ``mine`` found some.
        upright: Data sets of ``data``, by the names of their folders, whose crops are neither turned nor mirrored: for
            masks that lie to one side of their targets (``data.registration``).
        mine: Weights packages of models. What they take for targets in target-free training frames is its clutter.
        mine_threshold: Probability from which a pixel counts as such, in (0, 1).
        mine_beside: 1: mine beside the targets of the other frames too, where every target is labelled.
        missed: Weights packages of models. A training frame of which one misses a target comes ``missed_times`` times
            more, with crops over what was missed.
        missed_times: See there.
        plant: Probability that a crop gets one more target, cut out of another training frame; not in the last,
            plain epochs.
        keep: Share of pixels that the hard-mined cross-entropy keeps.
        bce_weight: Weight of that term beside the soft IoU.
        init: Weights to start from instead of random ones: a weights package or a run's ``.safetensors`` of the same
            model.
    """

    model: str = "pit-s"
    target_share: float = 0.6
    upright: tuple[str, ...] = ()
    mine: tuple[str, ...] = ()
    mine_threshold: float = 0.05
    mine_beside: int = 0
    missed: tuple[str, ...] = ()
    missed_times: int = 4
    plant: float = 0.0
    keep: float = 0.1
    bce_weight: float = 1.0
    init: str = ""

    @property
    def unmasked(self) -> bool:
        """Whether frames to train with may be without a mask."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.mine_threshold < 1.0:
            raise ValueError(f"mine_threshold must be in (0, 1), got {self.mine_threshold}")
        if self.bce_weight < 0.0:
            raise ValueError(f"bce_weight must be at least 0, got {self.bce_weight}")
        if self.missed_times < 1:
            raise ValueError(f"missed_times must be at least 1, got {self.missed_times}")
        for name in ("target_share", "plant"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability from 0 to 1, got {getattr(self, name)}")
        if not 0.0 < self.keep <= 1.0:
            raise ValueError(f"keep is a share above 0 and at most 1, got {self.keep}")


@dataclass(frozen=True)
class SupervisedConfig(DetectorConfig):
    """Full supervision from masks, by the network alone."""

    recipe: ClassVar[str] = "supervised"


@dataclass(frozen=True)
class FDEPConfig(DetectorConfig):
    """FDEP (arXiv 2512.05511): a frozen foundation model in training, the plain network at the end.

    Attributes:
        vfm: Foundation model: a timm name, or with ``vfm_weights`` nothing; ``"tiny-random"`` for dry runs, and
            ``"random:NAME"`` for a timm architecture or ``"random"`` for that of ``vfm_weights`` with random weights;
            random ones are drawn from ``seed``.
        vfm_weights: Local file of its weights.
        levels: Blocks whose outputs are fused, rising; empty for four equally spaced ones.
        vfm_scale: The foundation model sees crops enlarged so many times, as of ``core.vfm.FrozenVFM``.
        samf_style: "identity" or "plain", as of ``core.modules.samf.SAMF``.
        light_weight: Weight of the light branch's loss beside the main branch's.
        distillation: Weight of the explicit distillation from the main to the light branch; the paper has none.
        statistics: Running statistics of the decoder's batch norms. "separate": each branch has its own, the
            network those of the light one. "shared": both branches update one set, main first. "joint": both are
            decoded as one batch, whose statistics they share.
    """

    recipe: ClassVar[str] = "fdep"

    vfm: str = ""
    vfm_weights: str = ""
    levels: tuple[int, ...] = ()
    vfm_scale: int = 1
    samf_style: str = "identity"
    light_weight: float = 1.0
    distillation: float = 0.0
    statistics: str = "separate"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.statistics not in STATISTICS:
            raise ValueError(f"statistics must be one of {', '.join(STATISTICS)}, got {self.statistics!r}")
        # Here and not above: settings of other recipes are read without torch.
        from pitviper.core.modules.samf import STYLES

        if self.samf_style not in STYLES:
            raise ValueError(f"samf_style must be one of {', '.join(STYLES)}, got {self.samf_style!r}")
        if self.light_weight <= 0.0 or self.distillation < 0.0:
            raise ValueError(
                "light_weight must be above 0, since the light branch is what is kept, and distillation at least 0; "
                f"got {self.light_weight} and {self.distillation}"
            )


@dataclass(frozen=True)
class PriorConfig(TrainingConfig):
    """Self-supervised training of a vision transformer on unlabelled frames: no mask is read.

    Attributes:
        vfm: Model to adapt, as in ``FDEPConfig``; nothing, with ``vfm_weights`` empty too, trains a new one.
        vfm_weights: Local file of its weights.
        width: Of a new one; its attention heads are the usual number of that width.
        depth: Blocks of a new one.
        patch: Side of a patch of a new one, in pixels.
        masked: Share of the patches that are hidden from the transformer and reconstructed.
        points: Points of light that are planted in a crop of 128 x 128 pixels.
        point_weight: Weight of finding them beside the reconstruction.
    """

    recipe: ClassVar[str] = "prior"

    epochs: int = 14
    crops: tuple[tuple[float, int], ...] = ((1.0, 128),)
    batch: int = 32
    optimizer: str = "muon"
    lr: float = 2e-3
    weight_decay: float = 5e-2
    warmup: float = 0.1
    clip: float = 1.0
    ema: float = 0.99
    validate_every: int = 2
    vfm: str = ""
    vfm_weights: str = ""
    width: int = 192
    depth: int = 6
    patch: int = 8
    masked: float = 0.75
    points: int = 8
    point_weight: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.masked < 1.0:
            raise ValueError(f"masked is a share of the patches above 0 and below 1, got {self.masked}")
        if self.points < 0 or self.point_weight < 0.0:
            raise ValueError(
                f"points and point_weight must be at least 0, got {self.points} and {self.point_weight}"
            )
        if min(self.width, self.depth, self.patch) < 1:
            raise ValueError("width, depth and patch must be at least 1")


RECIPES: dict[str, type[DetectorConfig]] = {c.recipe: c for c in (SupervisedConfig, FDEPConfig)}
"""Settings of the recipes that learn from masks, by the name of the recipe, which is also the name of the command."""


def stored_config(summary: dict[str, Any]) -> DetectorConfig:
    """Settings of a run from its ``run.json`` or checkpoint; one that names no recipe is supervised."""
    # Their settings are made from those of this module.
    from pitviper.train.point_config import POINT_RECIPES

    return (RECIPES | POINT_RECIPES)[recipe_of(summary)].from_dict(summary["config"])


def recipe_of(summary: dict[str, Any]) -> str:
    """Name of the recipe in a ``run.json`` or checkpoint; files from before there were two name none."""
    return str(summary.get("recipe", SupervisedConfig.recipe))


def _read(
    config: type[TrainingConfig | AugmentConfig], values: dict[str, Any], what: str, *, prefix: str = ""
) -> dict[str, Any]:
    known = {f.name: str(f.type) for f in fields(config)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"unknown {what}: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return {name: read_setting(prefix + name, known[name], value) for name, value in values.items()}


def by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which files and folders go by their last name, wherever they lie on this machine."""
    named = dict(settings)
    for key in ("vfm_weights", "init", "points"):
        if isinstance(named.get(key), str):
            named[key] = Path(named[key]).name
    for key in ("data", "mine", "missed"):
        if key in named:
            named[key] = [Path(each).resolve().name for each in named[key]]
    return named
