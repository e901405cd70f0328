# SPDX-License-Identifier: Apache-2.0
"""Two 3x3 convolutions as one launch, the map between them kept on the chip."""
