# SPDX-License-Identifier: Apache-2.0
"""Every error that the SDK raises on purpose.

Each message says what was given, what is needed and the argument or command that fixes it. Errors that stand
for a built-in kind also derive from it, so that ``except ValueError`` and ``except OSError`` keep working.
"""

__all__ = [
    "AccuracyGate",
    "DeviceUnavailable",
    "EngineError",
    "EngineUnavailable",
    "InputError",
    "IntegrityError",
    "MissingExtra",
    "ModelError",
    "SdkError",
    "SinkError",
    "SourceError",
    "SourceLost",
    "SourceTimeout",
    "UnsafeWeights",
]


class SdkError(Exception):
    """Base of all errors that the SDK raises on purpose."""


class InputError(SdkError, ValueError):
    """A frame, an array or an argument that cannot be used as it is."""


class SourceError(SdkError, OSError):
    """A source of frames that is missing, unreadable or broken."""


class SourceTimeout(SourceError, TimeoutError):
    """A source that delivered nothing within its time limit."""


class SourceLost(SourceError):
    """A source that stopped before its end: a live one that did not come back, or a file that is cut off or damaged."""


class SinkError(SdkError, OSError):
    """An output that cannot be opened or written. What was written before stays valid."""


class ModelError(SdkError):
    """A model package that is unknown, incomplete or not readable."""


class UnsafeWeights(ModelError):
    """A weights file whose format can run code when it is loaded (pickle)."""


class IntegrityError(ModelError):
    """A file of a model package that does not have the sha256 of its manifest."""


class EngineError(SdkError, RuntimeError):
    """An engine that failed to load a network or to run it."""


class EngineUnavailable(EngineError):
    """An engine that was asked for by name and cannot run here."""


class DeviceUnavailable(EngineUnavailable):
    """A device that was asked for by name, or that an engine needs, and that is not there."""


class AccuracyGate(SdkError):
    """A written or converted model whose output differs too much from the running detector."""


class MissingExtra(SdkError, ImportError):
    """A call that needs an optional package which is not installed."""
