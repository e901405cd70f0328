# SPDX-License-Identifier: Apache-2.0
"""Fast operations on frames and maps, and their definitions. Importing it needs NumPy and SciPy only;
the operations on tensors import torch, and Triton, when they are called.

Each folder is one operation: ``reference.py`` defines it, the other implementations may only be faster.
"""

from pitviper.kernels.affine_modulate import affine_modulate
from pitviper.kernels.conv_block import Convolution, Head, Merge, conv_block
from pitviper.kernels.errors import BackendUnavailable
from pitviper.kernels.extract_targets import Targets, extract_targets
from pitviper.kernels.native import NativeUnavailable
from pitviper.kernels.registry import Backend, available_backends
from pitviper.kernels.residual_block import residual_block
from pitviper.kernels.runtime import (
    FusedRuntime,
    LaunchTime,
    LaunchTimes,
    RuntimeFailure,
    RuntimeResult,
    capi_prefix,
)
from pitviper.kernels.samf_fuse import samf_join, samf_split
from pitviper.kernels.standardise import NORMALISATION, standardise

__all__ = [
    "NORMALISATION",
    "Backend",
    "BackendUnavailable",
    "Convolution",
    "FusedRuntime",
    "Head",
    "LaunchTime",
    "LaunchTimes",
    "Merge",
    "NativeUnavailable",
    "RuntimeFailure",
    "RuntimeResult",
    "Targets",
    "affine_modulate",
    "available_backends",
    "capi_prefix",
    "conv_block",
    "extract_targets",
    "residual_block",
    "samf_join",
    "samf_split",
    "standardise",
]
