# SPDX-License-Identifier: Apache-2.0
"""A live view in the browser: picture, targets, tracks, plots, threshold and recording. Needs the extra ``web``."""

from pitviper.sdk.web.app import make_app
from pitviper.sdk.web.live import Event, LiveView

__all__ = ["Event", "LiveView", "make_app"]
