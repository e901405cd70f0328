# SPDX-License-Identifier: Apache-2.0
"""Draw docs/assets/demo.png: one frame of the demo's synthetic scene, what the detector found, and a closer look.

Run by ``make picture``. The frame comes from `pitviper.core.synthetic`, never from a data set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pitviper import sdk
from pitviper.core.synthetic import Scene, SceneConfig

SCALE, CLOSER, INSET_PX, GAP = 3, 12, 21, 6
FOUND, TRUTH = (255, 90, 60), (90, 220, 255)


def to_gray(frame: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Counts to 8 bits for the eye only: the detector gets the counts."""
    low, high = np.percentile(frame, (0.5, 99.95))
    return (np.clip((frame - low) / max(high - low, 1.0), 0.0, 1.0) * 255).astype(np.uint8)


def closer_look(gray: NDArray[np.uint8], x: float, y: float) -> Image.Image:
    """The surroundings of a target, each pixel visible; its centroid is a cross."""
    half = INSET_PX // 2
    left = int(np.clip(int(x) - half, 0, gray.shape[1] - INSET_PX))
    top = int(np.clip(int(y) - half, 0, gray.shape[0] - INSET_PX))
    part = Image.fromarray(gray[top : top + INSET_PX, left : left + INSET_PX])
    inset = part.resize((INSET_PX * CLOSER, INSET_PX * CLOSER), Image.Resampling.NEAREST).convert("RGB")
    # Half-pixel convention: x counts from the outer edge of the first column, as the picture does.
    cx, cy = (x - left) * CLOSER, (y - top) * CLOSER
    draw = ImageDraw.Draw(inset)
    draw.line((cx - 8, cy, cx + 8, cy), FOUND, 2)
    draw.line((cx, cy - 8, cx, cy + 8), FOUND, 2)
    return inset


def draw(scene: Scene, index: int, model: str) -> Image.Image:
    """The frame with boxes on the left, up to three of the targets enlarged on the right."""
    view = scene[index]
    with sdk.Detector(model) as detector:
        found = detector.detect(view.frame)
    gray = to_gray(view.frame)
    height, width = gray.shape
    whole = (
        Image.fromarray(gray).resize((width * SCALE, height * SCALE), Image.Resampling.BICUBIC).convert("RGB")
    )
    pen = ImageDraw.Draw(whole)
    font = ImageFont.load_default(size=17)
    for x, y in view.targets:
        pen.ellipse(
            [(x - 9) * SCALE, (y - 9) * SCALE, (x + 9) * SCALE, (y + 9) * SCALE], outline=TRUTH, width=1
        )
    for target in found:
        box = np.array(target.xyxy) + np.array([-4, -4, 4, 4])
        pen.rectangle([float(edge) * SCALE for edge in box], outline=FOUND, width=2)
        # Right of the box and of the circle around the truth.
        label = f"{target.score:.2f}  SNR {target.snr:.0f}"
        pen.text(((target.x + 11) * SCALE, target.y * SCALE), label, FOUND, font, anchor="lm")
    side = INSET_PX * CLOSER
    picture = Image.new("RGB", (whole.width + GAP + side, whole.height), (22, 22, 26))
    picture.paste(whole, (0, 0))
    for row, target in enumerate(list(found)[: (whole.height + GAP) // (side + GAP)]):
        picture.paste(closer_look(gray, target.x, target.y), (whole.width + GAP, row * (side + GAP)))
    return picture


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="pit-s")
    parser.add_argument("--frame", type=int, default=40)
    options = parser.parse_args()
    scene = Scene(SceneConfig(width=320, height=256, frames=options.frame + 1, clutter="terrain", seed=1))
    draw(scene, options.frame, options.model).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
