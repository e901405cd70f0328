# SPDX-License-Identifier: Apache-2.0
"""``python3 -m pitviper.sdk.ros --ros-args ...``: the node."""

from pitviper.sdk.ros.node import main

if __name__ == "__main__":
    main()
