# SPDX-License-Identifier: Apache-2.0
"""``python -m pitviper`` is the command ``pitviper``."""

import sys

from pitviper.sdk.cli import main

sys.exit(main())
