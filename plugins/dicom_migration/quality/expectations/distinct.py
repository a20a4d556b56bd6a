"""Asking each distinct value once: a million headers have few different answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import Series


def each_distinct(column: Series, ask: Callable[[Any], bool]) -> Series:
    """Return what `ask` says of every value, as booleans; it must not be asked of missing ones."""
    return column.map({value: ask(value) for value in column.unique()}).astype(bool)
