# SPDX-License-Identifier: Apache-2.0
"""Plans of fused launches, made from a weights package. Needs NumPy only."""

from pitviper.core.plan.build import build_plan
from pitviper.core.plan.layout import SCHEMA, Launch, Op, Plan, Value
from pitviper.core.plan.lowering import PlanError

__all__ = ["SCHEMA", "Launch", "Op", "Plan", "PlanError", "Value", "build_plan"]
