# SPDX-License-Identifier: Apache-2.0
"""Libraries of optional extras, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def library(module: str, *, need: str, extra: str = "train", otherwise: str = "") -> Any:
    """A module of a library that only some of the package needs.

    Args:
        module: Its full name.
        need: What needs which library, for the message.
        extra: Extra of this package that installs it.
        otherwise: What the user can do without it.

    Raises:
        ImportError: It cannot be imported; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        without = f", or {otherwise}" if otherwise else ""
        raise ImportError(f"{need} ({error}); pip install 'pitviper[{extra}]'{without}") from error
