# SPDX-License-Identifier: Apache-2.0
"""Where the time of a frame goes, layer by layer, and how far each layer is from what the machine allows."""
