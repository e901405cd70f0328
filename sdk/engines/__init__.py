# SPDX-License-Identifier: Apache-2.0
"""What runs the network: one runtime per file behind one small protocol, imported when it is used."""

from pitviper.sdk.engines.base import Engine, EngineInfo, EngineStatus
from pitviper.sdk.engines.registry import engines, open_engine

__all__ = ["Engine", "EngineInfo", "EngineStatus", "engines", "open_engine"]
