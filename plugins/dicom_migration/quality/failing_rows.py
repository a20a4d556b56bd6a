"""The failing rows of a frame by position: a million of them cost bytes each, not objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from numpy import intp
    from numpy.typing import NDArray
    from pandas import DataFrame


class FailingRows(Sequence[tuple[str, ...]]):
    """Identifiers of rows, read from the columns `named` of the judged frame when asked for."""

    def __init__(self, named: DataFrame, positions: NDArray[intp]) -> None:
        self._named = named
        self.positions = positions

    def __len__(self) -> int:
        """Return how many rows fail."""
        return len(self.positions)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        """Yield the identifiers of each row."""
        rows = self._named.take(self.positions)
        yield from zip(*(rows[column].astype(str) for column in rows), strict=True)

    @overload
    def __getitem__(self, place: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[tuple[str, ...]]: ...
    def __getitem__(self, place: int | slice) -> tuple[str, ...] | Sequence[tuple[str, ...]]:
        """Return the identifiers of one row, or some rows."""
        if isinstance(place, slice):
            return FailingRows(self._named, self.positions[place])
        (row,) = FailingRows(self._named, self.positions[[place]])
        return row

    def __eq__(self, other: object) -> bool:
        """Compare by what is named."""
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Say how many, and nothing of them."""
        return f"<{len(self)} rows>"
