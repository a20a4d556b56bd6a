"""Numbers as people read them."""

from __future__ import annotations

KIB = 1024
MIB = 1024**2
GB = 1000**3


def human_bytes(count: float) -> str:
    """Return `count` bytes in decimal units, as storage is sold: ``1.5 GB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def human_seconds(seconds: float) -> str:
    """Return a duration: ``12.3 s``, ``4 min 5 s``, ``3 h 20 min``, ``12 d 4 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def money(amount: float) -> str:
    """Return an amount with two decimals, with four when it is less than one."""
    return f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:.4f}"
