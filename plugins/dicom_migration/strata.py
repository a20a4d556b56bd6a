"""Stratified samples: every kind of study is looked at; the same seed looks at the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")


def stratified_sample(
    items: Sequence[ItemT], stratum_of: Callable[[ItemT], Hashable], size: int, seed: int
) -> list[ItemT]:
    """Return up to `size` items, one of each stratum in turn until the sample is full.

    Rare strata (a modality with three studies) are therefore always in the sample, as long as
    `size` is not below the number of strata. Which items stand for their stratum depends on
    `seed` and on the order of `items` only.
    """
    strata: dict[Hashable, list[ItemT]] = {}
    for item in items:
        strata.setdefault(stratum_of(item), []).append(item)
    generator = random.Random(seed)
    for members in strata.values():
        generator.shuffle(members)
    chosen: list[ItemT] = []
    names = sorted(strata, key=repr)
    while len(chosen) < min(size, len(items)):
        for name in names:
            if strata[name] and len(chosen) < size:
                chosen.append(strata[name].pop())
    return chosen
