"""How many studies a day has, so that a range is asked for in parts that will fit an answer.

A source that stops at 500 is otherwise asked for ranges that have no chance, and sends the same
500 studies at every step of the bisection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: How full an answer is to be, of what the source returns at most.
_FILL = 0.6
_MOST_PIECES = 64
_PIECES_OF_THE_UNKNOWN = 4


@dataclass(slots=True)
class Density:
    """What a task has learnt of the archive, from window to window.

    Attributes
    ----------
    cap
        Studies at which the source stops, None while no answer looked cut off.
    a_day
        Studies a day in what was asked lately, None before the first answer.
    """

    cap: int | None = None
    a_day: float | None = None

    def learn(self, rows: int, days: int | None, cut_off: bool) -> None:
        """Take in an answer to a range of `days`."""
        if cut_off and rows:
            self.cap = min(rows, self.cap or rows)
        if not days:
            return
        seen = rows / days
        if self.a_day is None:
            self.a_day = seen
        elif cut_off:
            self.a_day = max(self.a_day, seen)
        else:
            self.a_day = (self.a_day + seen) / 2

    def pieces(self, days: int | None) -> int:
        """Return into how many parts a range should be cut before it is asked for; 1: not at all.

        None for `days` is an open-ended range, of which nothing is known.
        """
        if not days or days < 2 or self.cap is None or self.a_day is None:
            return 1
        expected = self.a_day * days
        return 1 if expected <= self.cap * 0.9 else self._wanted(expected, self.cap)

    def pieces_of_cut_off(self, days: int | None) -> int:
        """Return into how many parts a range is cut whose answer was cut off."""
        if not days or self.a_day is None or self.cap is None:
            return _PIECES_OF_THE_UNKNOWN
        return max(_PIECES_OF_THE_UNKNOWN, self._wanted(self.a_day * days, self.cap))

    def _wanted(self, expected: float, cap: int) -> int:
        return min(_MOST_PIECES, max(2, math.ceil(expected / (cap * _FILL))))
