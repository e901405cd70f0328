# SPDX-License-Identifier: Apache-2.0
"""Exit codes of the command line, and which error gives which."""

from __future__ import annotations

from typing import Final

from pitviper.core.datasets import DatasetError
from pitviper.core.images import ImageError
from pitviper.sdk import errors

__all__ = [
    "ACCURACY",
    "DEVICE",
    "FAILURE",
    "INTERRUPTED",
    "LATENCY",
    "MODEL_OR_ENGINE",
    "OK",
    "SOURCE",
    "TERMINATED",
    "USAGE",
    "exit_code",
]

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
SOURCE: Final = 3
MODEL_OR_ENGINE: Final = 4
DEVICE: Final = 5
ACCURACY: Final = 6
LATENCY: Final = 7
INTERRUPTED: Final = 130
TERMINATED: Final = 143

_CODES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.AccuracyGate, ACCURACY),
    (errors.SourceError, SOURCE),
    (errors.ModelError, MODEL_OR_ENGINE),
    (errors.DeviceUnavailable, DEVICE),
    (errors.EngineError, MODEL_OR_ENGINE),
    (errors.InputError, USAGE),
    (errors.SdkError, FAILURE),
    (DatasetError, SOURCE),
    (ImageError, SOURCE),
)


def exit_code(error: BaseException) -> int | None:
    """Exit code of an error that was raised on purpose; None for any other, which is a bug."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return None
