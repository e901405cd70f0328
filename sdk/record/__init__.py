# SPDX-License-Identifier: Apache-2.0
"""Recordings: frames bit for bit, with their times and what was decided, to be replayed and decided again.

>>> from pitviper.sdk.record import Recorder, rerun
"""

from pitviper.sdk.record.entries import Entry, Header, Setup
from pitviper.sdk.record.reading import Recording
from pitviper.sdk.record.recorder import Recorder
from pitviper.sdk.record.rerun import RerunReport, rerun
from pitviper.sdk.record.source import ReplaySource

__all__ = ["Entry", "Header", "Recorder", "Recording", "ReplaySource", "RerunReport", "Setup", "rerun"]
