# SPDX-License-Identifier: Apache-2.0
"""The detector inside another program, in five lines; a frame of your camera takes the place of the synthetic one."""

from pitviper import sdk
from pitviper.core.synthetic import random_scene_frame

with sdk.Detector() as detector:
    frame, _ = random_scene_frame(seed=7, size=256)  # raw counts, uint16 [H, W]
    for target in detector.detect(frame):
        print(f"x {target.x:.1f}  y {target.y:.1f}  score {target.score:.2f}  SNR {target.snr:.1f}")
