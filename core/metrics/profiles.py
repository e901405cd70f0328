# SPDX-License-Identifier: Apache-2.0
"""Which conventions a set of numbers follows: ours, or those of published evaluation code with its slips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EmptyRule = Literal["one", "zero", "skip"]


@dataclass(frozen=True)
class Profile:
    """One bundle of conventions.

    Attributes:
        name: Printed with every result.
        matching: ``"optimal"`` (maximum cardinality, then minimum distance) or ``"greedy"`` (first in raster order).
        empty: What an image without truth and without prediction counts in nIoU: 1, 0, or not at all.
        area_membership: Leave out of Fa each predicted component whose area equals that of any matched component of the
            same image. A slip of several toolboxes; Fa comes out too low.
        frame_pixels: Pixels that Fa counts for each image; None counts the real ones.
        phantom_objects: Count a missing object for an image without truth and a false one for an image without
            prediction in hIoU.
        stage2: Second stage of the hIoU matching: ``"masked"`` forbids pairs that are too far apart, ``"minsum"``
            assigns first and then drops them, which can match fewer.
        beta2: beta squared of ``f_beta``.
    """

    name: str
    matching: Literal["optimal", "greedy"] = "greedy"
    empty: EmptyRule = "zero"
    area_membership: bool = False
    frame_pixels: int | None = None
    phantom_objects: bool = False
    stage2: Literal["masked", "minsum"] = "masked"
    beta2: float = 1.0


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("ours", matching="optimal", empty="one"),
        # YuChuang1205/PAL, also LESPS and BasicIRSTD.
        Profile("pal"),
        # YeRen123455/Infrared-Small-Target-Detection, also SCTransNet and RepISD-Net: Fa over images * 256 * 256.
        Profile("dnanet", area_membership=True, frame_pixels=256 * 256),
        # Lliu666/MSHNet: Fa over images * base size squared, 256 by default.
        Profile("mshnet", area_membership=True, frame_pixels=256 * 256),
        # lartpang/PyIRSTDMetrics, distance mode; F-measure with the saliency habit of beta squared = 0.3.
        Profile("pyirstd", phantom_objects=True, stage2="minsum", beta2=0.3),
    )
}


def get_profile(profile: str | Profile) -> Profile:
    """Look a profile up by name; a `Profile` is returned as it is.

    Raises:
        ValueError: There is no profile of that name; the message lists those that exist.
    """
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[profile]
