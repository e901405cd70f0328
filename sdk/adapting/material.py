# SPDX-License-Identifier: Apache-2.0
"""`gather`: frames with clicks, frames with believed tracks, and what is known of them, in one folder for training."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pitviper.core.atomic import write_whole
from pitviper.core.material import CLICKS, MATERIAL, SCHEMA, TRACKS
from pitviper.core.points import PointLabels, Points, read_table, require_points, write_points
from pitviper.sdk.adapting.choice import choose_frames, points_at
from pitviper.sdk.adapting.looking import Looked, look
from pitviper.sdk.adapting.trust import TrackRule, believe
from pitviper.sdk.arguments import require_number, require_whole
from pitviper.sdk.calibration import model_identity
from pitviper.sdk.errors import InputError, SinkError, SourceError
from pitviper.sdk.frame_files import require_an_end, write_frame
from pitviper.sdk.sources import open_source
from pitviper.sdk.sources.live import redact

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector

__all__ = ["Gathered", "gather"]

_BELIEFS: Final = ("clicked", "moving", "refuted", "unknown")


@dataclass(frozen=True)
class Gathered:
    """What `gather` found.

    Attributes:
        folder: With ``images/``, ``clicks.csv``, ``tracks.csv`` and ``material.json``.
        facts: Content of ``material.json``.
        continued: Whether it was there already, whole and from the same source, clicks, model and rule.
    """

    folder: Path
    facts: Mapping[str, Any]
    continued: bool


def gather(
    detector: Detector,
    spec: str,
    points: Path,
    folder: Path,
    *,
    fps: float | None = None,
    frames: int | None = None,
    track_frames: int = 120,
    rule: TrackRule | None = None,
    step: Callable[[str], object] = lambda note: None,
) -> Gathered:
    """Write the frames that a detector can be adapted with.

    Args:
        detector: That is to be adapted.
        spec: A recording (``replay://DIR``), a video or a folder of frames.
        points: CSV file of ``pitviper label``; a frame of it without points holds no target.
        folder: Made where it is missing. One that holds the same already is left as it is.
        fps: As in `look`.
        frames: Look at so many frames only.
        track_frames: Largest number of frames that are labelled by tracks alone; 0 follows none.
        rule: Which tracks are believed.
        step: Called after each frame that was looked at.

    Raises:
        InputError: A live source, or a value out of range. SourceError: The source cannot be read, or the clicks are
            of none of its frames. DatasetError: The clicks cannot be read, or one is outside its frame.
        SinkError: The folder cannot be written.
    """
    require_an_end(spec)
    require_whole("track_frames", track_frames, least=0)
    if frames is not None:
        require_whole("frames", frames, least=1, note=", or None")
    if fps is not None:
        require_number("fps", fps, above=0)
    rule = rule or TrackRule()
    settings = {"fps": fps, "frames": frames, "track_frames": track_frames, **asdict(rule)}
    asked = _asked(detector, spec, points, settings)
    if (found := _continued(folder, asked)) is not None:
        return Gathered(folder, found, continued=True)
    labels = read_table(points).labels
    looked = look(detector, spec, fps=fps, frames=frames, follow=track_frames > 0, step=step)
    clicks, elsewhere = _of_frames(labels, looked, spec, points)
    beliefs = believe(looked.trajectories, clicks, rule)
    believed = [each for each in looked.trajectories if beliefs[each.id] in ("clicked", "moving")]
    chosen = choose_frames(looked, beliefs, clicks, limit=track_frames)
    tracked = {frame: points_at(believed, frame, looked.shapes[frame]) for frame in chosen}
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        **asked,
        "frames": len(looked.names),
        "fps": looked.fps,
        "clicked": {looked.names[frame]: frame for frame in sorted(clicks)},
        "tracked": {looked.names[frame]: frame for frame in sorted(tracked)},
        "clicks": sum(len(each) for each in clicks.values()),
        "clicks_elsewhere": elsewhere,
        "tracks": {kind: sum(each == kind for each in beliefs.values()) for kind in _BELIEFS},
        "recorded_tracks": looked.recorded,
    }
    _write(folder, spec, looked.names, {CLICKS: clicks, TRACKS: tracked}, facts)
    return Gathered(folder, facts, continued=False)


def _asked(detector: Detector, spec: str, points: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What the material depends on, by which it is known again."""
    try:
        clicked = hashlib.sha256(points.read_bytes()).hexdigest()
    except OSError as error:
        raise SourceError(
            f"{points}: cannot be read ({error.strerror}); click points first: pitviper label SOURCE --out {points}"
        ) from error
    sha256 = model_identity(detector.package)[1]
    return {"source": redact(spec), "points_sha256": clicked, "model_sha256": sha256, "settings": settings}


def _continued(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    path = folder / MATERIAL
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    differing = [key for key, value in asked.items() if found.get(key) != value]
    if differing:
        raise InputError(
            f"{folder} was gathered from other things ({', '.join(differing)} differ); take another --out, or remove it"
        )
    return found


def _of_frames(labels: PointLabels, looked: Looked, spec: str, points: Path) -> tuple[dict[int, Points], int]:
    """Points by frame of the stream, and how many labelled frames are of something else."""
    numbers = {name: frame for frame, name in looked.names.items()}
    if len(numbers) < len(looked.names):
        raise SourceError(
            f"{redact(spec)}: two frames have one file name, by which labels know them; rename one of them"
        )
    clicks = {numbers[name]: each for name, each in labels.items() if name in numbers}
    if not clicks:
        raise SourceError(
            f"{points} labels {len(labels)} frames, {next(iter(labels))!r} first, and none of {redact(spec)} (its "
            f"first is called {next(iter(numbers))!r}); name the source that was labelled"
        )
    for frame, each in clicks.items():
        require_points(each, looked.shapes[frame], name=looked.names[frame])
    return dict(sorted(clicks.items())), len(labels) - len(clicks)


def _write(
    folder: Path,
    spec: str,
    names: Mapping[int, str],
    tables: Mapping[str, Mapping[int, Points]],
    facts: Mapping[str, Any],
) -> None:
    """Write all, and what says that it is all at the end; what an interrupted call left is replaced."""
    images = folder / "images"
    wanted = {frame for table in tables.values() for frame in table}
    try:
        if images.is_dir():
            shutil.rmtree(images)
        with open_source(spec) as source:
            for frame in source:
                if frame.index in wanted:
                    write_frame(frame, images, names[frame.index])
                    wanted.remove(frame.index)
                if not wanted:
                    break
        if wanted:
            raise SourceError(f"{redact(spec)}: frame {min(wanted)} was there before and is not any more")
        for file, table in tables.items():
            # With a suffix, since a name such as night.01 would lose its end without one.
            files = {names[frame]: f"{names[frame]}.png" for frame in table}
            write_points(folder / file, {names[f]: each for f, each in table.items()}, files)
        write_whole(folder / MATERIAL, f"{json.dumps(facts, indent=1)}\n".encode())
    except (SinkError, SourceError):
        raise
    except OSError as error:
        raise SinkError(
            f"{folder} cannot be written ({error.strerror or error}); make room, then go on"
        ) from error
