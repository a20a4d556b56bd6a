"""Python's garbage collector, kept from looking at what never becomes garbage.

A worker has some hundred thousand objects of imported packages. Each full collection visits all of
them, 0.1 s at a time, in the thread that works. They are set aside while studies move or are
verified. What an instance leaves behind is mostly its manifest row, which lives until its study
ends: collected as often as Python does it by itself, those rows are looked at again and again, a
tenth of all CPU.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 20_000  # a few MB at most: buffers of instances are given back, not collected


@contextmanager
def imports_set_aside() -> Iterator[None]:
    """Leave all objects that exist now out of collections until the end, and collect seldom."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
