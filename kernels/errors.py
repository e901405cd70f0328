# SPDX-License-Identifier: Apache-2.0
"""What the operations raise when something asked for by name cannot run."""

from __future__ import annotations


class BackendUnavailable(RuntimeError):
    """A backend was asked for by name and cannot run, here or on these arguments; the message says why."""
