# SPDX-License-Identifier: Apache-2.0
"""A page on which a person clicks one point for each target. Needs the extra ``web``."""

from pitviper.sdk.web.labelling.app import make_label_app
from pitviper.sdk.web.labelling.book import LabelBook
from pitviper.sdk.web.labelling.frames import FrameFolder

__all__ = ["FrameFolder", "LabelBook", "make_label_app"]
