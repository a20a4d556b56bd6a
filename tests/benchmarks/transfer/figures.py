"""What the transfer benchmark leaves: figures as JSON, a Markdown table, and a chart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import escape

BAR, GAP, LEFT, WIDTH = 14, 12, 330, 420


@dataclass(frozen=True)
class Figures:
    """One case, medians over its rounds.

    Attributes
    ----------
    ratio, limit_ratio
        Ours to the peer's time, and to the time of the bare bytes: medians of each round's.
    cpu_ms
        CPU of our workers an instance, in milliseconds; of source and target nothing.
    peak_mib
        Of our largest worker.
    """

    case: str
    target_ratio: float
    ours_s: float
    peer_s: float
    ratio: float
    limit_s: float
    limit_ratio: float
    mb_per_s: float
    instances_per_s: float
    cpu_ms: float
    peak_mib: float
    rounds: int


def write(name: str, figures: Sequence[Figures], folder: Path) -> None:
    """Print the table, and leave everything in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = table(figures)
    print(text)
    (folder / f"{name}.json").write_text(json.dumps([asdict(f) for f in figures], indent=2) + "\n")
    (folder / f"{name}.md").write_text(text + "\n")
    (folder / f"{name}.svg").write_text(chart(figures))


def table(figures: Sequence[Figures]) -> str:
    """Return the figures as a Markdown table."""
    head = (
        "| case | ours s | peer s | ratio | bar | limit s | to limit | MB/s | instances/s "
        "| CPU ms | peak MiB |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    rows = [
        f"| {f.case} | {f.ours_s:.2f} | {f.peer_s:.2f} | **{f.ratio:.2f}** | {f.target_ratio:.1f} "
        f"| {f.limit_s:.2f} | {f.limit_ratio:.2f} | {f.mb_per_s:.0f} | {f.instances_per_s:.0f} "
        f"| {f.cpu_ms:.2f} | {f.peak_mib:.0f} |"
        for f in figures
    ]
    return "\n".join([head, *rows])


def chart(figures: Sequence[Figures]) -> str:
    """Return bars of seconds, ours and the peer's, as SVG."""
    longest = max(max(f.ours_s, f.peer_s) for f in figures)
    step = 2 * BAR + GAP
    height = step * len(figures) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 70}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="16"><tspan fill="#1b6ca8">■ ours</tspan> '
        '<tspan fill="#9aa5b1">■ peer</tspan>, seconds for everything</text>',
    ]
    for number, f in enumerate(figures):
        top = 28 + number * step
        parts.append(
            f'<text x="{LEFT - 8}" y="{top + BAR + 4}" text-anchor="end">{escape(f.case)}</text>'
        )
        for row, (value, colour) in enumerate(((f.ours_s, "#1b6ca8"), (f.peer_s, "#9aa5b1"))):
            width = WIDTH * value / longest
            y = top + row * BAR
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>'
                f'<text x="{LEFT + width + 5:.1f}" y="{y + BAR - 4}">{value:.1f}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])
