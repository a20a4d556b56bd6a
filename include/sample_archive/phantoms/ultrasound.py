"""Ultrasound sectors, 8 bits: speckle inside a fan, organs as brighter and darker regions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from include.sample_archive.phantoms.painting import Image, blank, ellipse


def still(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return one abdominal B-mode image."""
    echo = blank(rows, columns, 70.0)
    ellipse(echo, (-0.25, 0.15), (0.55, 0.45), 105.0, 15)
    ellipse(echo, (0.30, 0.35), (0.24, 0.16), 55.0, -20)
    ellipse(echo, (0.30, 0.35), (0.13, 0.06), 150.0, -20)
    ellipse(echo, (rng.uniform(-0.4, 0), -0.1), (0.14, 0.20), 6.0)
    return _speckle(echo, rng)


def clip(frames: int, rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return one heart beat, shape (frames, rows, columns)."""
    beat = [math.sin(math.tau * frame / frames) for frame in range(frames)]
    return np.stack([_speckle(_four_chambers(rows, columns, phase), rng) for phase in beat])


def _four_chambers(rows: int, columns: int, phase: float) -> Image:
    echo = blank(rows, columns, 60.0)
    ellipse(echo, (0, 0.25), (0.55, 0.62), 120.0)
    for side in (-1, 1):
        ellipse(
            echo, (0.22 * side, 0.02), (0.16 + 0.04 * phase, 0.28 + 0.05 * phase), 8.0, 8 * side
        )
        ellipse(echo, (0.22 * side, 0.52), (0.15 - 0.03 * phase, 0.19 - 0.03 * phase), 8.0)
    return echo


def _speckle(echo: Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    rows, columns = echo.shape
    speckle = rng.rayleigh(0.8, echo.shape).astype(np.float32)
    y = np.linspace(0, 2, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    reach, sideways = np.hypot(x, y), np.abs(np.arctan2(x, y))
    fan = (reach < 1.95) & (reach > 0.18) & (sideways < 0.72)
    attenuated = echo * speckle * np.exp(-0.25 * y)
    return np.where(fan, np.clip(attenuated, 0, 255), 0).astype(np.uint8)
