# SPDX-License-Identifier: Apache-2.0
"""`Calibration`: score against false alarms, measured on empty scenes of one's own, with an exact bound.

Frames are taken in blocks. Of each block only its highest score counts: a threshold t gives an alarm in that block
exactly if this is above t. Scores are log-odds where the engine gives them: empty scenes that look like a target reach
a probability of 1 in float32, which no threshold can exceed, while their log-odds still tell them apart.

With k alarms in n blocks the Clopper-Pearson bound at confidence c is the quantile c of Beta(k + 1, n - k)
(C. J. Clopper, E. S. Pearson, Biometrika 26, 1934). Taking the (k + 1)-th highest score as the threshold is the order
statistic of a distribution-free tolerance limit (S. S. Wilks, Ann. Math. Statist. 12, 1941), which is also the
training-conditional form of split conformal prediction: the bound stays valid although the threshold was chosen from
the same scores, because k depends on n, c and the budget alone.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from pitviper.core.manifest import NETWORK_ONNX, Package
from pitviper.sdk.errors import InputError
from pitviper.sdk.fa_budget import FaBudget
from pitviper.sdk.frames import require_polarity
from pitviper.sdk.log_odds import LogOdds, log_odds_of

__all__ = ["ASSUMPTION", "Calibration", "alarm_bound", "alarms_allowed"]

_LARGEST: Final = 1e4
SCHEMA: Final = "pitviper.calibration/1"
KEPT: Final = 1000
"""Highest scores that are kept: enough for every budget but the most generous."""
LOWEST: Final = 0.1
"""No threshold below this probability is given: there the targets grow into their surroundings."""
PROBABILITY: Final = "probability"
LOG_ODDS: Final = "log-odds"
ASSUMPTION: Final = (
    "The scenes hold no target. Blocks are independent of each other and of the same kind as those of later use: same "
    "camera, settings, place and weather. Choose blocks so long that neighbours do not resemble each other."
)


def alarm_bound(alarms: int, blocks: int, confidence: float = 0.95) -> float:
    """Upper Clopper-Pearson bound of the probability of an alarm per block, one-sided.

    Args:
        alarms: Blocks with an alarm, 0 to ``blocks``.
        blocks: Blocks in all, at least 1.
        confidence: In (0, 1).

    Example:
        >>> round(alarm_bound(0, 59), 4)
        0.0495
    """
    from scipy.special import betaincinv

    if not 0 <= alarms <= blocks or blocks < 1 or not 0 < confidence < 1:
        raise InputError(f"no bound for {alarms} alarms in {blocks} blocks at confidence {confidence}")
    return 1.0 if alarms == blocks else float(betaincinv(alarms + 1, blocks - alarms, confidence))


def alarms_allowed(allowed: float, blocks: int, confidence: float = 0.95) -> int:
    """Most alarms in ``blocks`` blocks whose bound stays within ``allowed``; -1 if not even none does."""
    low, high = -1, blocks
    while low < high:
        middle = (low + high + 1) // 2
        if alarm_bound(middle, blocks, confidence) <= allowed:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True)
class Calibration:
    """Scores of empty scenes, and what follows from them. Made by `calibrate`, read by ``threshold=``.

    Attributes:
        model: Name of the model.
        model_sha256: SHA-256 of its network, as scores belong to one network only.
        source: What was measured, without credentials.
        frames: Frames that were measured; those of a last incomplete block are left out.
        block: Frames of a block.
        scores: Highest score of each block, in falling order, at most `KEPT`.
        scale: What the scores are: `PROBABILITY` or `LOG_ODDS`.
        polarity: Of the targets that were looked for, ``bright`` or ``dark``.
        blocks: Number of blocks.
        confidence: Of every bound, in (0, 1).
        fps: Frames per second of the source, or None.
        shape: (H, W) of the frames, None when they differ.
        camera: Name of the camera profile, or None.
        resemblance: Rank correlation of neighbouring blocks in [-1, 1], None below 10 blocks. Well above 0 the
            blocks are not independent and the bound is too good.
        per_frame, per_hour: The budget that it was made for, None without.
        created_utc: When, ISO 8601.
        assumption: Under which the bound holds.

    Raises:
        InputError: Values that cannot be.
    """

    model: str
    model_sha256: str
    source: str
    frames: int
    block: int
    blocks: int
    scores: tuple[float, ...]
    confidence: float = 0.95
    fps: float | None = None
    shape: tuple[int, int] | None = None
    camera: str | None = None
    resemblance: float | None = None
    per_frame: float | None = None
    per_hour: float | None = None
    created_utc: str = ""
    assumption: str = ASSUMPTION
    scale: str = PROBABILITY
    polarity: str = "bright"

    def __post_init__(self) -> None:
        whole = all(type(each) is int and each >= 1 for each in (self.frames, self.block, self.blocks))
        if not whole or len(self.scores) != min(self.blocks, KEPT):
            raise InputError(
                f"a calibration of {self.blocks!r} blocks needs {KEPT} scores or one each, got {len(self.scores)}"
            )
        falling = all(a >= b for a, b in zip(self.scores, self.scores[1:], strict=False))
        if self.scale not in (PROBABILITY, LOG_ODDS):
            raise InputError(f"scale must be {PROBABILITY!r} or {LOG_ODDS!r}, got {self.scale!r}")
        low, high = (0.0, 1.0) if self.scale == PROBABILITY else (-_LARGEST, _LARGEST)
        if not falling or not all(low <= score <= high for score in self.scores):
            raise InputError(
                f"the scores of a calibration must be of the scale {self.scale}, {low:g} to {high:g}, in falling order"
            )
        require_polarity(self.polarity)
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence must lie between 0 and 1, got {self.confidence!r}")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise InputError(f"fps must be above 0, or None, got {self.fps!r}")

    @classmethod
    def of(cls, scores: ArrayLike, *, block: int = 1, **values: Any) -> Calibration:
        """The calibration of one score per frame [N], in the order of the frames; ``values`` are other attributes.

        Raises:
            InputError: Fewer frames than one block, or scores that do not fit the ``scale``.
        """
        given = np.asarray(scores, np.float64)
        if type(block) is not int or block < 1 or given.ndim != 1 or len(given) < block:
            raise InputError(
                f"{given.size} scores are less than one block of {block!r} frames; measure longer"
            )
        if not np.isfinite(given).all():
            raise InputError("a score is not finite; scores are probabilities in [0, 1], or log-odds")
        blocks = len(given) // block
        highest = given[: blocks * block].reshape(blocks, block).max(axis=1)
        kept = tuple(float(score) for score in np.sort(highest)[::-1][:KEPT])
        return cls(
            frames=blocks * block,
            block=block,
            blocks=blocks,
            scores=kept,
            resemblance=_resemblance(highest),
            **values,
        )

    def alarms(self, threshold: float) -> int:
        """Blocks with an alarm at a threshold.

        Raises:
            InputError: So low a threshold that more scores would be needed than were kept.
        """
        level = log_odds_of(threshold) if self.scale == LOG_ODDS else float(threshold)
        if len(self.scores) < self.blocks and level < self.scores[-1]:
            raise InputError(
                f"only scores from {self.scores[-1]:.4g} on were kept ({self.scale}); ask for a higher threshold"
            )
        return int(np.count_nonzero(np.asarray(self.scores) > level))

    def bound(self, threshold: float) -> float:
        """Upper bound of the probability of an alarm per block, for a threshold that was not chosen by these scores."""
        return alarm_bound(self.alarms(threshold), self.blocks, self.confidence)

    def threshold_for(self, budget: FaBudget) -> float:
        """The lowest threshold, not below `LOWEST`, whose bound stays within a budget: `LogOdds` on that scale.

        Raises:
            InputError: Too few blocks to vouch for it, or probabilities that reach 1; the message says what is needed.
        """
        allowed = budget.frames_allowed(fps=self.fps, block=self.block)
        alarms = alarms_allowed(min(allowed, 1.0), self.blocks, self.confidence)
        if alarms < 0:
            needed = math.ceil(math.log(1 - self.confidence) / math.log1p(-min(allowed, 0.5)))
            least = alarm_bound(0, self.blocks, self.confidence)
            raise InputError(
                f"{self.blocks} blocks of {self.block} frames cannot vouch for a rate of {allowed:.3g} per block: with "
                f"no alarm at all the bound is {least:.3g}. Measure at least {needed} blocks, or allow more"
            )
        # With fewer scores kept than alarms allowed the lowest kept score is stricter than needed.
        chosen = self.scores[min(alarms, len(self.scores) - 1)] if alarms < self.blocks else -math.inf
        if self.scale == LOG_ODDS:
            return LogOdds(max(chosen, log_odds_of(LOWEST)))
        threshold = max(chosen, LOWEST)
        if threshold >= 1.0:
            raise InputError(
                "the empty scenes reach a probability of 1, so none as threshold keeps to the budget; are they empty? "
                "Calibrate on an engine that gives log-odds (all of this package do), or allow more"
            )
        return threshold

    def chosen_threshold(self) -> float:
        """The threshold for the budget that the calibration was made for.

        Raises:
            InputError: It was made for none, or cannot vouch for it.
        """
        if self.per_frame is None and self.per_hour is None:
            raise InputError(
                "this calibration was made for no budget; pass threshold=FaBudget(per_frame=..., calibration=...)"
            )
        return self.threshold_for(FaBudget(self.per_frame, self.per_hour))

    def check_model(self, package: Package, polarity: str = "bright") -> None:
        """Refuse a calibration of another model, or of targets of another polarity.

        Raises:
            InputError: Name, network or polarity differ.
        """
        if self.polarity != polarity:
            raise InputError(
                f"the calibration is of {self.polarity} targets and this detector looks for {polarity} ones; calibrate "
                f"again with polarity={polarity!r} (--polarity {polarity})"
            )
        name, sha256 = model_identity(package)
        if (self.model, self.model_sha256) != (name, sha256):
            raise InputError(
                f"the calibration is of {self.model!r} (network {self.model_sha256[:12] or 'unknown'}), this is "
                f"{name!r} ({sha256[:12] or 'unknown'}); scores of two networks cannot be compared. "
                "Calibrate again: pitviper calibrate"
            )

    def to_json(self) -> str:
        """The calibration as a JSON document, for `load`."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, allow_nan=False) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what `to_json` wrote.

        Raises:
            InputError: The file cannot be read, or is no calibration.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
            values = json.loads(text, parse_constant=_finite, parse_float=_finite)
            if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
                raise InputError(f"its schema is not {SCHEMA}")
            unknown = set(values) - {item.name for item in fields(cls)}
            if unknown:
                raise InputError(f"unknown key {sorted(unknown)[0]!r}")
            shape = values.get("shape")
            for item in fields(cls):
                if item.type == "str" and not isinstance(values.get(item.name, ""), str):
                    raise InputError(f"{item.name} is no text")
            return cls(
                **{
                    **values,
                    "scores": tuple(values["scores"]),
                    "shape": None if shape is None else tuple(shape),
                }
            )
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{os.fspath(path)} is no calibration: {error}") from error


def _finite(number: str) -> float:
    """JSON has no infinity and no NaN, but Python reads both, and 1e999 becomes the first."""
    if not math.isfinite(value := float(number)):
        raise InputError(f"{number} is not finite")
    return value


def model_identity(package: Package) -> tuple[str, str]:
    """Name of a model and SHA-256 of its network (empty where the package does not state it)."""
    manifest = package.manifest
    return manifest.name, str(manifest.files.get(NETWORK_ONNX, {}).get("sha256", ""))


def _resemblance(scores: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """Spearman's rank correlation of neighbours."""
    if len(scores) < 10 or scores.min() == scores.max():
        return None
    ranks = scores.argsort(kind="stable").argsort(kind="stable").astype(np.float64)
    return round(float(np.corrcoef(ranks[:-1], ranks[1:])[0, 1]), 4)
