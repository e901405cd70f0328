# SPDX-License-Identifier: Apache-2.0
"""Targets of a few pixels in thermal video, found on the board that holds the camera.

``pitviper.sdk`` is what an application embeds, ``pitviper.core`` what a detector is and how it is judged,
``pitviper.kernels`` the fast operations and their definitions, ``pitviper.train`` the training recipes.
"""

__version__ = "0.1.0"
