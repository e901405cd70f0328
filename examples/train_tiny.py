# SPDX-License-Identifier: Apache-2.0
"""Train a detector from nothing in half a minute: frames with masks on disk, a run, a package, a detection."""

import tempfile
from pathlib import Path

from PIL import Image

from pitviper import sdk
from pitviper.core.synthetic import Scene, SceneConfig, SceneFrame
from pitviper.train.config import SupervisedConfig
from pitviper.train.hardware import Hardware
from pitviper.train.package import package_run
from pitviper.train.run import train_supervised


def view(seed: int, side: int) -> SceneFrame:
    return Scene(SceneConfig(width=side, height=side, seed=seed, snr=(20, 40)))[0]


def write_frames(root: Path, count: int) -> None:
    """Write what training reads: images/NAME.png with 16 bits, masks/NAME.png with 8; a sixth is drawn for val."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for seed in range(count):
        Image.fromarray(view(seed, 64).frame).save(root / f"images/{seed}.png")
        Image.fromarray(view(seed, 64).mask).convert("L").save(root / f"masks/{seed}.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        write_frames(here / "mine", 58)
        settings = {"epochs": 16, "batch": 4, "crops": [[1.0, 64]], "lr": 5e-3, "ema": 0.95}
        config = SupervisedConfig.from_dict({"model": "pit-n", "data": [str(here / "mine")], **settings})
        run = train_supervised(config, here / "run", hardware=Hardware("cpu", "1", "32-true"))
        told = {"licence": "CC0-1.0", "provenance": "synthetic", "commit": "not stated"}
        with sdk.Detector(package_run(run, here / "out", which="last", **told), threshold=0.9) as detector:
            for target in detector.detect(view(99, 128).frame):
                print(f"x {target.x:.1f}  y {target.y:.1f}  score {target.score:.2f}")
