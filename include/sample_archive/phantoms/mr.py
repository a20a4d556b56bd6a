"""MR slices in arbitrary signal units, 12 bits, with the coil's shading and Rician-like noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from include.sample_archive.phantoms.painting import (
    Image,
    add_noise,
    blank,
    ellipse,
    quantise,
    shade,
)

# Signal by weighting: fat, cortex, grey matter, white matter, fluid, muscle.
_SIGNAL = {
    "T1": {
        "fat": 1700.0,
        "bone": 120.0,
        "grey": 780.0,
        "white": 1050.0,
        "fluid": 260.0,
        "muscle": 620.0,
    },
    "T2": {
        "fat": 1250.0,
        "bone": 90.0,
        "grey": 900.0,
        "white": 640.0,
        "fluid": 1950.0,
        "muscle": 420.0,
    },
    "PD": {
        "fat": 1500.0,
        "bone": 100.0,
        "grey": 1150.0,
        "white": 980.0,
        "fluid": 1350.0,
        "muscle": 800.0,
    },
}


def slice_of(
    region: str,
    weighting: str,
    rows: int,
    columns: int,
    depth: float,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Return one slice; `depth` runs from 0 (first slice) to 1 (last)."""
    canvas = blank(rows, columns, 0)
    _REGIONS[region](canvas, _SIGNAL[weighting], depth)
    shade(canvas, 0.10, -0.14)
    add_noise(canvas, rng, 22.0)
    # Magnitude images have no negative signal: the background's noise is folded up.
    return quantise(np.abs(canvas), 4095)


def _brain(canvas: Image, signal: dict[str, float], depth: float) -> None:
    size = 0.50 + 0.38 * math.sin(math.pi * (0.12 + 0.72 * (1 - depth)))
    ellipse(canvas, (0, 0), (0.80 * size, 0.98 * size), signal["fat"])
    ellipse(canvas, (0, 0), (0.75 * size, 0.93 * size), signal["bone"])
    ellipse(canvas, (0, 0), (0.70 * size, 0.88 * size), signal["fluid"])
    for side in (-1, 1):
        ellipse(
            canvas, (0.32 * side * size, 0), (0.34 * size, 0.83 * size), signal["grey"], 3 * side
        )
        ellipse(
            canvas, (0.32 * side * size, 0), (0.27 * size, 0.70 * size), signal["white"], 3 * side
        )
        for gyrus in range(6):
            centre = (0.56 * side * size, (-0.6 + 0.24 * gyrus) * size)
            ellipse(canvas, centre, (0.10 * size, 0.035 * size), signal["fluid"], 12 * gyrus * side)
        ellipse(canvas, (0.20 * side * size, 0.12), (0.09 * size, 0.13 * size), signal["grey"])
        width = 0.10 * max(0.15, math.sin(math.pi * depth))
        ellipse(
            canvas, (0.11 * side * size, -0.06), (width, 0.28 * size), signal["fluid"], 12 * side
        )


def _knee(canvas: Image, signal: dict[str, float], depth: float) -> None:
    # Sagittal: femur above, tibia below, patella in front (left of the image).
    width = 0.36 * (0.55 + 0.45 * math.sin(math.pi * depth))
    ellipse(canvas, (0, 0), (0.72, 1.3), signal["fat"])
    ellipse(canvas, (0.22, 0), (0.44, 1.25), signal["muscle"])
    for y, height in ((-0.62, 0.60), (0.62, 0.55)):
        ellipse(canvas, (-0.02, y), (width * 0.72, height), signal["bone"])
        ellipse(canvas, (-0.02, y), (width * 0.66, height * 0.96), signal["fat"] * 0.85)
    for y, height in ((-0.20, 0.25), (0.20, 0.16)):
        ellipse(canvas, (-0.02, y), (width * 1.18, height), signal["grey"] * 1.1)
        ellipse(canvas, (-0.02, y), (width * 1.10, height * 0.88), signal["bone"])
        ellipse(canvas, (-0.02, y), (width * 1.05, height * 0.82), signal["fat"] * 0.85)
    ellipse(canvas, (-0.02, 0.05), (width, 0.035), signal["fluid"])
    for side in (-1, 1):
        ellipse(canvas, (-0.02 + 0.72 * side * width, 0.05), (0.09, 0.03), signal["bone"])
    ellipse(canvas, (-0.50, -0.30), (0.11, 0.22), signal["bone"])
    ellipse(canvas, (-0.50, -0.30), (0.095, 0.20), signal["fat"] * 0.85)
    ellipse(canvas, (-0.46, 0.16), (0.03, 0.30), signal["bone"], -8)


_REGIONS = {"BRAIN": _brain, "KNEE": _knee}
