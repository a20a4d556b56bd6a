"""Axial CT slices in Hounsfield units, stored with an intercept of -1024 in 12 bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from include.sample_archive.phantoms.painting import Image, add_noise, blank, ellipse, quantise

INTERCEPT = -1024
_AIR, _FAT, _WATER, _MUSCLE, _BONE = -1000.0, -90.0, 8.0, 55.0, 900.0


def slice_of(
    region: str, rows: int, columns: int, depth: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Return one slice; `depth` runs from 0 (first slice) to 1 (last)."""
    canvas = blank(rows, columns, _AIR)
    _REGIONS[region](canvas, depth)
    ellipse(canvas, (0, 1.42), (0.9, 0.5), 120.0)  # the table top
    ellipse(canvas, (0, 1.46), (0.9, 0.5), _AIR)
    add_noise(canvas, rng, 9.0)
    return quantise(canvas - INTERCEPT, 4095)


def _head(canvas: Image, depth: float) -> None:
    # The skull narrows towards the vertex.
    size = 0.55 + 0.35 * math.sin(math.pi * (0.15 + 0.7 * (1 - depth)))
    ellipse(canvas, (0, 0), (0.80 * size, 0.96 * size), _FAT)
    ellipse(canvas, (0, 0), (0.77 * size, 0.93 * size), _BONE)
    ellipse(canvas, (0, 0), (0.70 * size, 0.86 * size), 28.0)
    for side in (-1, 1):
        ellipse(canvas, (0.31 * side * size, 0), (0.34 * size, 0.78 * size), 38.0, 4 * side)
        ellipse(canvas, (0.33 * side * size, 0.05), (0.24 * size, 0.62 * size), 31.0, 4 * side)
        width = 0.09 * max(0.2, math.sin(math.pi * depth))
        ellipse(canvas, (0.12 * side * size, -0.05), (width, 0.30 * size), _WATER, 14 * side)
    ellipse(canvas, (0, 0.02), (0.012, 0.84 * size), 45.0)


def _chest(canvas: Image, depth: float) -> None:
    ellipse(canvas, (0, 0), (0.93, 0.66), _FAT)
    ellipse(canvas, (0, 0), (0.88, 0.60), _MUSCLE)
    lung = 0.30 + 0.14 * math.sin(math.pi * (0.2 + 0.7 * depth))
    for side in (-1, 1):
        ellipse(canvas, (0.43 * side, -0.02), (lung * 0.95, 0.52), _BONE * 0.5)
        ellipse(canvas, (0.43 * side, -0.02), (lung * 0.90, 0.49), _MUSCLE)
        ellipse(canvas, (0.43 * side, -0.02), (lung * 0.86, 0.47), -860.0)
        for vessel in range(7):
            at = 0.9 * vessel + 2.0 * depth
            centre = (side * (0.24 + 0.05 * vessel), 0.36 * math.sin(at * 2.1))
            ellipse(canvas, centre, (0.028 - 0.003 * vessel, 0.02), 40.0)
    ellipse(canvas, (0.10, -0.08), (0.20 + 0.12 * depth, 0.26), 150.0)
    ellipse(canvas, (0.13, -0.10), (0.10 + 0.08 * depth, 0.15), 260.0)
    _spine(canvas, 0.36)


def _abdomen(canvas: Image, depth: float) -> None:
    ellipse(canvas, (0, 0), (0.92, 0.68), _FAT)
    ellipse(canvas, (0, 0), (0.84, 0.60), _MUSCLE)
    ellipse(canvas, (0, -0.02), (0.78, 0.54), _FAT - 10)
    ellipse(canvas, (-0.38, -0.10), (0.40 - 0.18 * depth, 0.40), 110.0, 12)
    ellipse(canvas, (0.52, 0.06), (0.17, 0.26 - 0.10 * depth), 125.0, -15)
    ellipse(canvas, (0.22, -0.24), (0.22, 0.13), 40.0, 10)
    ellipse(canvas, (0.24, -0.28), (0.14, 0.06), -950.0)
    for side in (-1, 1):
        size = 0.17 * math.sin(math.pi * min(1.0, 0.15 + 0.8 * depth))
        ellipse(canvas, (0.34 * side, 0.28), (size * 0.75, size), 190.0, 20 * side)
        ellipse(canvas, (0.30 * side, 0.28), (size * 0.3, size * 0.45), _WATER, 20 * side)
    ellipse(canvas, (0.05, 0.12), (0.055, 0.055), 230.0)
    _spine(canvas, 0.30)


def _spine(canvas: Image, y: float) -> None:
    ellipse(canvas, (0, y), (0.13, 0.10), _BONE * 0.6)
    ellipse(canvas, (0, y), (0.105, 0.08), 260.0)
    ellipse(canvas, (0, y + 0.16), (0.07, 0.06), _BONE * 0.7)
    ellipse(canvas, (0, y + 0.13), (0.045, 0.035), 20.0)


_REGIONS = {"HEAD": _head, "CHEST": _chest, "ABDOMEN": _abdomen}
