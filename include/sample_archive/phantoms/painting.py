"""Draw soft shapes on a square of coordinates from -1 to 1 (x to the right, y downwards)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@lru_cache(maxsize=8)
def _axes(rows: int, columns: int) -> tuple[Image, Image]:
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    return y, x


def blank(rows: int, columns: int, value: float) -> Image:
    """Return a `rows` x `columns` canvas filled with `value`."""
    return np.full((rows, columns), value, dtype=np.float32)


def ellipse(
    canvas: Image,
    centre: tuple[float, float],
    radii: tuple[float, float],
    value: float,
    angle: float = 0.0,
) -> None:
    """Fill an ellipse in place; `centre` and `radii` are (x, y), `angle` is in degrees."""
    y, x = _axes(*canvas.shape)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    if angle:
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        dx, dy = (
            dx * np.float32(cos) + dy * np.float32(sin),
            dy * np.float32(cos) - dx * np.float32(sin),
        )
    canvas[(dx / np.float32(radii[0])) ** 2 + (dy / np.float32(radii[1])) ** 2 <= 1] = value


def glow(
    canvas: Image, centre: tuple[float, float], radii: tuple[float, float], amount: float
) -> None:
    """Add a Gaussian bump in place: what a thick organ adds to a projection."""
    y, x = _axes(*canvas.shape)
    across = np.exp(-(((x - np.float32(centre[0])) / np.float32(radii[0])) ** 2))
    down = np.exp(-(((y - np.float32(centre[1])) / np.float32(radii[1])) ** 2))
    canvas += np.float32(amount) * down * across


def shade(canvas: Image, left_to_right: float, top_to_bottom: float) -> None:
    """Multiply in place by a linear field: 0.1 means 10 % brighter at the far edge."""
    y, x = _axes(*canvas.shape)
    canvas *= 1 + np.float32(left_to_right) * x + np.float32(top_to_bottom) * y


def texture(rows: int, columns: int, rng: np.random.Generator, waves: int, finest: float) -> Image:
    """Return a field of unit amplitude made of `waves` random ripples.

    `finest` is the highest frequency in cycles across the image.
    """
    y, x = _axes(rows, columns)
    field = blank(rows, columns, 0)
    for _ in range(waves):
        turn, cycles, phase = (
            rng.uniform(0, math.tau),
            rng.uniform(1, finest),
            rng.uniform(0, math.tau),
        )
        ky, kx = math.pi * cycles * math.sin(turn), math.pi * cycles * math.cos(turn)
        field += np.cos(np.float32(kx) * x + np.float32(ky) * y + np.float32(phase))
    return field / np.float32(math.sqrt(waves))


def add_noise(canvas: Image, rng: np.random.Generator, sigma: float) -> None:
    """Add Gaussian noise of standard deviation `sigma` in place."""
    canvas += np.float32(sigma) * rng.standard_normal(canvas.shape, dtype=np.float32)


def quantise(canvas: Image, highest: int) -> NDArray[np.uint16]:
    """Return the canvas rounded and clipped to 0..`highest`."""
    return np.clip(np.rint(canvas), 0, highest).astype(np.uint16)
