# SPDX-License-Identifier: Apache-2.0
"""`calibrate`: run a detector over empty scenes and keep the highest score of each block of frames."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.arguments import require_whole
from pitviper.sdk.calibration import LOG_ODDS, PROBABILITY, Calibration, model_identity
from pitviper.sdk.errors import SourceError
from pitviper.sdk.log_odds import LogOdds

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.fa_budget import FaBudget
    from pitviper.sdk.sources import Source

__all__ = ["RESEMBLES", "calibrate", "highest_score"]

RESEMBLES: Final = 0.3
"""Rank correlation of neighbouring blocks from which on they are not taken as independent."""
_HIGH: Final = {PROBABILITY: 0.99, LOG_ODDS: LogOdds(math.log(99.0))}
_LOG = logging.getLogger("pitviper")


def calibrate(
    detector: Detector,
    source: Source,
    *,
    budget: FaBudget | None = None,
    block: int | None = None,
    frames: int | None = None,
    confidence: float = 0.95,
    timeout_s: float = 5.0,
    progress: Callable[[float], object] | None = None,
    kept: Callable[[Calibration], object] | None = None,
) -> Calibration:
    """Measure how high a detector scores on scenes that hold no target: in log-odds where its engine gives them.

    Args:
        detector: Whose scores are measured.
        source: An opened source of empty scenes; it is closed at the end.
        budget: What the calibration is for; kept in it, so that the file alone is a threshold.
        block: Frames of a block; None takes one second of a source that has a frame rate, else one frame.
        frames: Stop after so many.
        confidence: Of the bounds, in (0, 1).
        timeout_s: Longest wait for a frame, as of `Detector.stream`.
        progress: Called with the highest score of each frame, by the scale of the calibration. Where it returns False
            the measurement ends with that frame.
        kept: Called with what was measured until then, at least one block, when the source fails.

    Raises:
        InputError: An argument out of range, or fewer frames than one block.
        SourceError: The source failed, or `SourceTimeout`: no frame came in time.
    """
    if frames is not None:
        require_whole("frames", frames, least=1, note=", or None")
    if block is not None:
        require_whole("block", block, least=1, note=" (frames), or None")
    fps = source.info.fps if budget is None or budget.fps is None else budget.fps
    size = max(1, round(fps)) if block is None and fps else block or 1
    scores: list[float] = []
    shapes: set[tuple[int, int]] = set()
    scale = LOG_ODDS if detector.gives_log_odds else PROBABILITY
    if scale == PROBABILITY:
        _LOG.warning(
            "engine %s gives no log-odds: scores are probabilities, and a strict budget may find none below 1",
            detector.engine_info.name,
        )
    # The map alone is needed, so the targets are looked for at a threshold that hardly any pixel reaches.
    name, sha256 = model_identity(detector.package)
    camera: Any = getattr(source, "camera", None)

    def measured() -> Calibration:
        return Calibration.of(
            scores,
            block=size,
            model=name,
            model_sha256=sha256,
            source=source.info.name,
            confidence=confidence,
            scale=scale,
            polarity=detector.polarity,
            fps=fps,
            shape=next(iter(shapes)) if len(shapes) == 1 else None,
            camera=None if camera is None else camera.name,
            per_frame=None if budget is None else budget.per_frame,
            per_hour=None if budget is None else budget.per_hour,
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    try:
        with detector.stream(source, mode="all", threshold=_HIGH[scale], timeout_s=timeout_s) as stream:
            for found in stream:
                scores.append(highest_score(found, scale))
                shapes.add(found.shape)
                if (progress is not None and progress(scores[-1]) is False) or len(scores) == frames:
                    break
    except SourceError:
        if kept is not None and len(scores) >= size:
            kept(measured())
        raise
    made = measured()
    if made.resemblance is not None and made.resemblance > RESEMBLES:
        _LOG.warning(
            "neighbouring blocks resemble each other (rank correlation %.2f), so the bound is too good; "
            "use longer blocks, or scenes from more times and places",
            made.resemblance,
        )
    return made


def highest_score(found: Detections, scale: str) -> float:
    """The highest score of a frame by a scale of `Calibration`; log-odds need a result with a `LogOdds` threshold."""
    if scale == LOG_ODDS:
        return float(found.log_odds_map.max())
    return min(float(found.score_map.max()), 1.0)
