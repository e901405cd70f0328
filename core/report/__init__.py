# SPDX-License-Identifier: Apache-2.0
"""What people look at after an evaluation: tables, curves, a sheet of the worst errors, one HTML page."""

from pitviper.core.report.page import write_report
from pitviper.core.report.plots import MissingMatplotlib, plot_curves
from pitviper.core.report.sheet import draw_sheet
from pitviper.core.report.table import format_table

__all__ = ["MissingMatplotlib", "draw_sheet", "format_table", "plot_curves", "write_report"]
