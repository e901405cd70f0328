# SPDX-License-Identifier: Apache-2.0
"""Detector networks behind one contract. Needs torch."""

from pitviper.core.models.base import DetectorNetwork
from pitviper.core.models.complexity import complexity
from pitviper.core.models.registry import ModelCard, create_model, list_models, model_card

__all__ = ["DetectorNetwork", "ModelCard", "complexity", "create_model", "list_models", "model_card"]
