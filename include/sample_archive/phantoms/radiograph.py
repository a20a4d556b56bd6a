"""Computed radiography projections: bright where the beam was absorbed (MONOCHROME2), 12 bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from include.sample_archive.phantoms.painting import (
    Image,
    add_noise,
    blank,
    ellipse,
    glow,
    quantise,
    shade,
)


def projection(
    region: str, view: str, rows: int, columns: int, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Return one radiograph of CHEST (view PA or LL) or HAND (view PA)."""
    canvas = blank(rows, columns, 180.0)
    if region == "HAND":
        _hand(canvas)
    elif view == "PA":
        _chest_frontal(canvas)
    else:
        _chest_lateral(canvas)
    shade(canvas, 0.03, 0.05)
    add_noise(canvas, rng, 16.0)
    return quantise(canvas, 4095)


def _chest_frontal(canvas: Image) -> None:
    glow(canvas, (0, 0.2), (1.1, 1.6), 1500.0)
    for side in (-1, 1):
        glow(canvas, (0.42 * side, -0.02), (0.30, 0.62), -1050.0)
        ellipse_arm = (0.95 * side, 0.1)
        glow(canvas, ellipse_arm, (0.14, 0.9), 500.0)
        for rib in range(9):
            y = -0.72 + 0.15 * rib
            for step in range(14):
                x = side * (0.10 + 0.05 * step)
                drop = 0.10 * math.sin(math.pi * step / 14) + 0.012 * step
                glow(canvas, (x, y + drop), (0.045, 0.022), 130.0)
        glow(canvas, (0.38 * side, -0.80), (0.36, 0.030), 420.0)  # the clavicle
        glow(canvas, (0.45 * side, 0.82), (0.42, 0.22), 900.0)  # below the diaphragm
    glow(canvas, (0, 0.0), (0.11, 2.0), 900.0)
    glow(canvas, (0.13, 0.28), (0.27, 0.32), 850.0)
    glow(canvas, (0.05, -0.35), (0.13, 0.20), 350.0)


def _chest_lateral(canvas: Image) -> None:
    glow(canvas, (0.05, 0.1), (0.75, 1.5), 1700.0)
    glow(canvas, (0.05, -0.10), (0.36, 0.60), -900.0)
    glow(canvas, (-0.18, 0.22), (0.26, 0.30), 700.0)
    for vertebra in range(11):
        centre = (0.52 + 0.06 * math.sin(vertebra / 3), -0.85 + 0.17 * vertebra)
        glow(canvas, centre, (0.10, 0.065), 620.0)
    glow(canvas, (-0.62, -0.1), (0.05, 0.55), 450.0)
    glow(canvas, (0.05, 0.85), (0.55, 0.20), 850.0)


def _hand(canvas: Image) -> None:
    glow(canvas, (0, 0.35), (0.42, 0.45), 500.0)
    for finger, (lean, reach) in enumerate(
        ((-34, 0.62), (-14, 0.98), (0, 1.08), (12, 1.0), (24, 0.80))
    ):
        start = (-0.34 + 0.17 * finger, 0.42)
        sin, cos = math.sin(math.radians(lean)), math.cos(math.radians(lean))
        for bone in range(4 if finger else 3):
            along = reach * (0.16 + 0.30 * bone)
            centre = (start[0] + along * sin, start[1] - along * cos)
            size = (0.062 - 0.008 * bone, 0.145 * reach)
            ellipse_value = 1250.0 - 90 * bone
            glow(canvas, centre, (0.11, 0.17), 230.0)
            ellipse(canvas, centre, size, ellipse_value, lean)
            ellipse(canvas, centre, (size[0] * 0.5, size[1] * 0.8), ellipse_value * 0.82, lean)
    for carpal in range(8):
        centre = (-0.24 + 0.16 * (carpal % 4), 0.62 + 0.12 * (carpal // 4))
        ellipse(canvas, centre, (0.075, 0.062), 1300.0 - 40 * carpal)
    for side, width in ((-0.16, 0.14), (0.18, 0.10)):
        ellipse(canvas, (side, 1.0), (width, 0.22), 1350.0)
