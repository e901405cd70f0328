# SPDX-License-Identifier: Apache-2.0
"""Random fields that backgrounds are made of, and the sub-pixel window into them."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

Field = NDArray[np.float32]


def _frequencies(shape: tuple[int, int]) -> tuple[Field, Field]:
    height, width = shape
    fy = np.fft.fftfreq(height).astype(np.float32)[:, None]
    fx = np.fft.fftfreq(width).astype(np.float32)[None, :]
    return fy, fx


def power_law(
    rng: np.random.Generator,
    shape: tuple[int, int],
    beta: float,
    *,
    stretch: float = 1.0,
    shortest_px: float = 2.0,
) -> Field:
    """Periodic Gaussian field whose power falls as 1 / frequency**beta, zero mean and unit deviation.

    Natural infrared clutter has beta from 2 (rough ground) to 4 (haze). `stretch` above 1 lengthens structures
    horizontally; wavelengths under `shortest_px` pixels are removed softly.
    """
    height, width = shape
    noise = rng.standard_normal(shape, dtype=np.float32)
    fy = np.fft.fftfreq(height).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(width).astype(np.float32)[None, :] * np.float32(stretch)
    squared = fy * fy + fx * fx
    squared[0, 0] = 1.0
    gain = squared ** np.float32(-beta / 4) * np.exp(-squared * np.float32(shortest_px**2 / 2))
    gain[0, 0] = 0.0
    field = scipy.fft.irfft2(scipy.fft.rfft2(noise) * gain, s=shape)
    return np.asarray(field / (field.std() + 1e-12), dtype=np.float32)


def travelling_waves(
    rng: np.random.Generator, shape: tuple[int, int], wavelength_px: float, direction: float
) -> NDArray[np.complex64]:
    """Periodic complex field a; Re(a exp(-i w t)) is a band of waves that travels along `direction` (radians).

    The spectrum is one-sided (only wave vectors within 90 degrees of the direction), which is what makes the real
    part travel instead of standing still. Its real part has unit deviation.
    """
    fy, fx = _frequencies(shape)
    noise = rng.standard_normal(shape, dtype=np.float32) + 1j * rng.standard_normal(shape, dtype=np.float32)
    frequency = np.hypot(fy, fx)
    along = np.cos(np.arctan2(fy, fx) - np.float32(direction))
    band = np.exp(-0.5 * ((frequency * wavelength_px - 1.0) / 0.35) ** 2)
    field = scipy.fft.ifft2(noise * band * np.clip(along, 0, None) ** 4)
    return np.asarray(field / (field.real.std() + 1e-12), dtype=np.complex64)


def warped(field: Field, dy: Field, dx: Field) -> Field:
    """The periodic field sampled at (row + dy, column + dx), bilinear."""
    rows, columns = np.indices(field.shape, dtype=np.float32)
    return np.asarray(
        scipy.ndimage.map_coordinates(field, (rows + dy, columns + dx), order=1, mode="grid-wrap"),
        dtype=np.float32,
    )


def sampled(field: NDArray[np.float32], rows: Field, columns: Field) -> Field:
    """The periodic field at real-valued rows and columns, bilinear."""
    return np.asarray(
        scipy.ndimage.map_coordinates(field, (rows, columns), order=1, mode="grid-wrap"), dtype=np.float32
    )


def smoothstep(value: Field) -> Field:
    """0 below 0, 1 above 1, 3 v**2 - 2 v**3 between."""
    clipped = np.clip(value, 0, 1)
    return np.asarray(clipped * clipped * (3 - 2 * clipped), dtype=np.float32)


def window(field: Field, y: float, x: float, shape: tuple[int, int]) -> Field:
    """`shape` pixels of the field from row y and column x on, bilinear between pixels.

    The field must hold one row and one column more than the window needs; y and x must not be negative.
    """
    height, width = shape
    top, left = int(y), int(x)
    fy, fx = np.float32(y - top), np.float32(x - left)
    part = field[top : top + height + 1, left : left + width + 1]
    across = part[:, 1:] - part[:, :-1]
    across *= fx
    across += part[:, :-1]
    down = across[1:] - across[:-1]
    down *= fy
    down += across[:-1]
    return down
