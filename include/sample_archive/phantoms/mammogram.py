"""Mammograms for presentation, 12 bits: the breast on the chest-wall side, the rest is air."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from include.sample_archive.phantoms.painting import (
    add_noise,
    blank,
    ellipse,
    glow,
    quantise,
    texture,
)


def projection(
    laterality: str, view: str, rows: int, columns: int, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Return one view (CC or MLO) of the breast of `laterality` (L or R).

    A left breast touches the left edge of the image, a right one the right edge: viewers hang
    them back to back.
    """
    skin = blank(rows, columns, 0)
    tall = 0.86 if view == "CC" else 0.98
    ellipse(skin, (-1, 0.05), (1.45, tall), 1)
    inside = skin > 0
    depth = blank(rows, columns, 0)
    glow(depth, (-1, 0.05), (1.25, tall * 0.85), 1.0)
    tissue = texture(rows, columns, rng, waves=26, finest=16)
    gland = blank(rows, columns, 0)
    glow(gland, (-0.45, 0.0), (0.55, 0.55), 1.0)
    canvas = np.where(inside, 620 + 900 * depth + gland * (700 + 330 * tissue), 12).astype(
        np.float32
    )
    ellipse(canvas, (0.44, 0.05), (0.03, 0.05), 1500.0)
    if view == "MLO":
        ellipse(canvas, (-1.1, -1.0), (0.85, 0.95), 2500.0, 22)
    for _ in range(int(rng.integers(2, 6))):
        spot = (rng.uniform(-0.75, -0.1), rng.uniform(-0.4, 0.4))
        ellipse(canvas, spot, (0.010, 0.007), 3600.0)  # a microcalcification
    add_noise(canvas, rng, 14.0)
    pixels = quantise(canvas, 4095)
    return pixels if laterality == "L" else np.ascontiguousarray(pixels[:, ::-1])
