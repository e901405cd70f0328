# SPDX-License-Identifier: Apache-2.0
"""python -m pitviper.kernels.aot."""

import sys

from pitviper.kernels.aot.command import main

sys.exit(main())
