# SPDX-License-Identifier: Apache-2.0
"""Affine modulation of features, per channel or per pixel, as SCAM applies it."""

from pitviper.kernels.affine_modulate.op import affine_modulate

__all__ = ["affine_modulate"]
