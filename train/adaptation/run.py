# SPDX-License-Identifier: Apache-2.0
"""Adaptation of a package to a stream: split, label, judge, train, judge again, keep or refuse."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pitviper.core.datasets import DatasetError, open_dataset, read_mask
from pitviper.core.manifest import Package, read_package
from pitviper.core.material import LEAST_JUDGES
from pitviper.core.models import DetectorNetwork
from pitviper.core.points import PointLabels
from pitviper.core.spacing import evenly_spaced
from pitviper.core.weights import load_model, write_package
from pitviper.train.adaptation.judge import Judged, judge_frames, total
from pitviper.train.adaptation.labels import Labelled, write_stream
from pitviper.train.adaptation.material import Material, read_material
from pitviper.train.adaptation.outcome import adapted_manifest, describe_settings, origin
from pitviper.train.adaptation.pictures import Place, changes, draw_changes, draw_labels
from pitviper.train.adaptation.report import NUMBERS, Told, summary_lines, write_adaptation_report
from pitviper.train.adaptation.settings import AdaptSettings, trained_upright, training_config
from pitviper.train.adaptation.split import Split, split_by_time
from pitviper.train.adaptation.verdict import Verdict, decide
from pitviper.train.config import SupervisedConfig
from pitviper.train.data.crops import crop_counts
from pitviper.train.data.splits import train_splits, val_splits
from pitviper.train.data.store import StoredFrame, load_frames
from pitviper.train.hardware import Hardware
from pitviper.train.run import load_run, synthetic_frames, train_supervised
from pitviper.train.validate import predictor, validate

WORK = "work"
PACKAGE = "package"

_GUARDS = 48
_GUARD_SEED = 1000
_LABELS_SHOWN = 12
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@dataclass(frozen=True)
class _Case:
    """What stays the same before and after."""

    settings: AdaptSettings
    package: Package
    material: Material
    split: Split

    @property
    def judges(self) -> PointLabels:
        return {name: self.material.clicks[name] for name in self.split.judge}

    def judge(self, network: DetectorNetwork) -> dict[str, Judged]:
        threshold = self.package.manifest.default_threshold()
        return judge_frames(predictor(network), self.material.read, self.judges, threshold=threshold)


def adapt(
    settings: AdaptSettings, *, hardware: Hardware | None = None, resume: bool = False
) -> tuple[Verdict, Path]:
    """Adapt a package, and leave ``report.html`` and ``report.json`` in ``out``, and ``package`` unless refused.

    Frames, labels and checkpoints are in ``out/work`` until the end. A run that was interrupted goes on with
    ``resume`` and ends with the same weights (one process on the CPU, "32-true").

    Returns:
        The verdict, and the page of the report.

    Raises:
        DatasetError: Frames or clicks cannot be used, or are too few to judge by; the message says how many are needed.
        PackageError: The package cannot be used, or holds no weights in training form.
        FileExistsError: ``out`` holds an adaptation, or one that was begun and ``resume`` is False.
        OSError: ``out`` cannot be written; what is in ``out/work`` is kept.
    """
    try:
        return _adapt(settings, hardware or Hardware(devices="1", precision="32-true"), resume)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}; the package before and what was begun in {settings.out / WORK} are kept: make room, "
            "then go on with --resume",
            error.filename,
        ) from error


def _adapt(settings: AdaptSettings, hardware: Hardware, resume: bool) -> tuple[Verdict, Path]:
    _require_free(settings.out, resume)
    package = read_package(settings.package)
    network = load_model(package)
    material = read_material(settings.material)
    split = split_by_time(material.clicks, material.tracks, material.number, apart=material.second)
    _require_enough(material, split)
    case = _Case(settings, package, material, split)
    before = case.judge(network)
    score = total(before)
    if score.found == score.points and not score.false_objects:
        reason = (
            f"there is nothing to gain: all {score.points} held-out points are found, and nothing else; click frames "
            "in which the detector fails"
        )
        verdict = Verdict((reason,), score, score, 1.0, 1.0, {})
        return verdict, _finish(case, verdict, {}, {})
    labelled = write_stream(material, split, predictor(network), settings.out / WORK / "own-stream")
    guards = _guards(settings)
    _say("measuring what is known already")
    guard_before = validate(network, guards)
    config, steps = _training(settings, package, labelled)
    run = train_supervised(
        config, settings.out / WORK / "run", hardware=hardware, resume="auto" if resume else False
    )
    adapted, _ = load_run(run, "last")
    _say("measuring again")
    after, guard_after = case.judge(adapted), validate(adapted, guards)
    verdict = decide(
        before, after, guard_before, guard_after, tolerance=settings.tolerance, chance=settings.chance
    )
    numbers = _numbers(case, labelled, config, steps)
    if verdict.accepted:
        manifest = adapted_manifest(
            package, adapted, settings, numbers, score=verdict.after, guards=guard_after
        )
        write_package(settings.out / PACKAGE, adapted, manifest)
    pictures = _pictures(case, labelled, before, after)
    return verdict, _finish(case, verdict, numbers, pictures)


def _require_free(out: Path, resume: bool) -> None:
    if (out / NUMBERS).exists():
        raise FileExistsError(f"{out} holds an adaptation already; choose another --out")
    if (out / WORK / "run").exists() and not resume:
        raise FileExistsError(
            f"{out} holds an adaptation that was begun; go on with --resume, or choose another --out"
        )


def _require_enough(material: Material, split: Split) -> None:
    judging = sum(len(material.clicks[name]) > 0 for name in split.judge)
    clicked = sum(len(points) > 0 for points in material.clicks.values())
    if judging < LEAST_JUDGES:
        raise DatasetError(
            f"{clicked} clicked frames with points are too few to judge by: {judging} of them fall into the blocks of "
            f"time that are held out, and {LEAST_JUDGES} are needed there, so that a change can be told from chance. "
            f"Click at least {2 * LEAST_JUDGES} frames with points, spread over the whole stream"
        )
    teaching = [*split.teach, *split.tracked]
    if not any(len((material.clicks | material.tracks)[name]) for name in teaching):
        raise DatasetError(
            f"no frame with points is left to learn from: the others lie within {material.second} frames of those that "
            "judge; click frames that lie farther apart"
        )


def _guards(settings: AdaptSettings) -> dict[str, list[StoredFrame]]:
    """Val splits of the given data, and synthetic scenes of which none is trained with."""
    val_sets = val_splits(settings.data)
    guards = {f"{each.name} {each.split}": load_frames([each]) for each in val_sets}
    return {**guards, "synthetic scenes": synthetic_frames(_GUARDS, settings.seed + _GUARD_SEED)}


def _training(settings: AdaptSettings, package: Package, labelled: Labelled) -> tuple[SupervisedConfig, int]:
    own = crop_counts(load_frames([open_dataset(labelled.root, "train")]), 1)
    others = crop_counts(load_frames(train_splits(settings.data)), 1)
    model = str(package.manifest.architecture["name"])
    return training_config(
        settings,
        model,
        stream=labelled.root,
        own=sum(own),
        others=sum(others),
        upright=trained_upright(package.manifest.training),
    )


def _numbers(case: _Case, labelled: Labelled, config: SupervisedConfig, steps: int) -> dict[str, Any]:
    """Counts for the report and the manifest."""
    facts, split, clicks = case.material.facts, case.split, case.material.clicks
    return {
        "source": Path(str(facts["source"]).partition("?")[0].rstrip("/")).name,
        "frames_of_source": facts["frames"],
        "clicked_frames": len(clicks),
        "clicks": sum(map(len, clicks.values())),
        "clicked_frames_to_learn": len(split.teach),
        "clicked_frames_to_judge": len(split.judge),
        "track_frames": len(labelled.tracked),
        "tracks": facts["tracks"],
        "frames_left_out": len(split.left_out) + len(split.tracked) - len(labelled.tracked),
        "labels": labelled.shapes,
        "synthetic_frames": config.synthetic,
        "trained_steps": steps,
        "adapted_from": origin(case.package),
        "settings": describe_settings(case.settings),
    }


def _finish(case: _Case, verdict: Verdict, numbers: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Path:
    settings, manifest = case.settings, case.package.manifest
    facts = {"Package": f"{manifest.name}, threshold {manifest.default_threshold():g}"}
    if numbers:
        tracks = ", ".join(f"{count} {kind}" for kind, count in numbers["tracks"].items())
        facts |= {
            "Stream": f"{numbers['source']}, {numbers['frames_of_source']} frames",
            "Clicks": f"{numbers['clicks']} in {numbers['clicked_frames']} frames: "
            f"{numbers['clicked_frames_to_learn']} to learn from, {numbers['clicked_frames_to_judge']} to judge by",
            "Tracks": f"{tracks}; {numbers['track_frames']} frames labelled by those that are clicked or moving",
            "Labels from": ", ".join(f"{kind} {count}" for kind, count in numbers["labels"].items()),
            "Trained": f"{numbers['trained_steps']} steps of {settings.batch} crops, AdamW lr {settings.lr:g}, with "
            f"{numbers['synthetic_frames']} synthetic frames"
            + (f" and {', '.join(Path(each).name for each in settings.data)}" if settings.data else ""),
        }
    page = write_adaptation_report(settings.out, verdict, Told(facts, numbers, pictures))
    if not settings.keep_work:
        shutil.rmtree(settings.out / WORK, ignore_errors=True)
    for line in summary_lines(verdict):
        _say(line)
    return page


def _pictures(
    case: _Case, labelled: Labelled, before: Mapping[str, Judged], after: Mapping[str, Judged]
) -> dict[str, bytes]:
    material, labels = case.material, case.material.clicks | case.material.tracks
    places = changes(case.judges, before, after)
    pictures = {}
    if places:
        heading = "What changed on the held-out frames (clicks green, found orange)"
        pictures[heading] = draw_changes(places, material.read, labels, before, after)
    taught = [
        Place(name, int(row), int(column), "track" if name in material.tracks else "click")
        for name in (*case.split.teach, *labelled.tracked)
        for row, column in labels[name]
    ]

    def mask(name: str) -> NDArray[Any]:
        frame = material.read(name)
        return read_mask(labelled.root / f"masks/{name}.png", (frame.shape[0], frame.shape[1]))

    shown = evenly_spaced(taught, _LABELS_SHOWN)
    pictures["Labels that it learned from (points green, labels orange)"] = draw_labels(
        shown, material.read, labels, mask
    )
    return pictures


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
