"""Reading lists that other systems wrote, line by line; what is malformed is refused by line.

No message repeats what a line holds: it is patient data.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from dicom_migration.policies.identity import ListFile

MAX_LINE = 1 << 20
"""Characters of a line: more is no list."""
PIECE = 1 << 16
_UNDECODED = re.compile("[\udc80-\udcff]")
_CONTROL = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]")
_OTHER_UNICODE = (b"\xff\xfe", b"\xfe\xff")


def refused(listed: ListFile, line: int, problem: str) -> PermanentError:
    """Return the refusal of a list."""
    return PermanentError(
        f"List {listed.path.name} refused, line {line}: {problem}.",
        reason=ReasonCode.POLICY_INVALID,
        next_step="Have the list made anew, or correct include/policies/identity.yaml; then clear "
        "the task.",
    )


def lines_of(listed: ListFile) -> Iterator[str]:
    """Yield the lines of a file, each with its end as a line feed.

    Raises
    ------
    PermanentError
        ``policy_invalid``: there is no such file, a line is too long or in another encoding.
    """
    with _opened(listed) as text:
        number = 0
        while line := text.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise refused(listed, number, f"it has more than {MAX_LINE:,} characters")
            _check_decoded(listed, number, line)
            yield line


def pieces_of(listed: ListFile) -> Iterator[str]:
    """Yield the text of a file that need not have lines, in pieces.

    Raises
    ------
    PermanentError
        ``policy_invalid``: there is no such file, or it is in another encoding.
    """
    with _opened(listed) as text:
        number = 1
        while piece := text.read(PIECE):
            _check_decoded(listed, number, piece)
            number += piece.count("\n")
            yield piece


@contextmanager
def _opened(listed: ListFile) -> Iterator[TextIO]:
    try:
        with listed.path.open("rb") as raw:
            if raw.read(2) in _OTHER_UNICODE:
                raise refused(listed, 1, "the file is UTF-16; save it as UTF-8")
        codec = "utf-8-sig" if listed.encoding == "utf-8" else listed.encoding
        with listed.path.open(encoding=codec, errors="surrogateescape") as text:
            yield text
    except OSError as error:
        raise refused(listed, 1, f"the file cannot be read ({error.strerror})") from None


def _check_decoded(listed: ListFile, line: int, text: str) -> None:
    if not text.isascii() and (found := _UNDECODED.search(text)):
        line += text.count("\n", 0, found.start())
        raise refused(listed, line, "it is not UTF-8; set 'encoding: latin-1'?")


def csv_rows(
    listed: ListFile, needed: Mapping[str, str], optional: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, values by our name) of a CSV file with a header line; blank lines are none.

    `needed` and `optional` tell what the columns of our names are called in the file.

    Raises
    ------
    PermanentError
        ``policy_invalid``: a column is missing or there twice, a row has more or fewer fields, a
        quote does not end, a value holds control characters or a backslash.
    """
    reader = csv.reader(lines_of(listed), delimiter=listed.delimiter, strict=True)
    places: dict[str, int] | None = None
    width = 0
    try:
        for row in reader:
            if not row:
                continue
            if places is None:
                places, width = _places(listed, [cell.strip() for cell in row], needed, optional)
                continue
            if len(row) != width:
                raise refused(listed, reader.line_num, f"{len(row)} fields instead of {width}")
            values = {name: row[place].strip() for name, place in places.items()}
            check_text(listed, reader.line_num, values)
            yield reader.line_num, values
    except csv.Error:
        problem = "it is not CSV: a quote or a field never ends"
        raise refused(listed, reader.line_num, problem) from None
    if places is None:
        raise refused(listed, 1, "the file is empty")


def check_text(listed: ListFile, line: int, values: Mapping[str, str]) -> None:
    """Refuse values that no attribute can hold (PS3.5 section 6.2, LO)."""
    for name, value in values.items():
        if _CONTROL.search(value):
            raise refused(listed, line, f"{name} holds a control character or a backslash")


def _places(
    listed: ListFile, header: list[str], needed: Mapping[str, str], optional: Mapping[str, str]
) -> tuple[dict[str, int], int]:
    places = {}
    for name, column in (*needed.items(), *optional.items()):
        if header.count(column) > 1:
            raise refused(listed, 1, f"there are two columns {column!r}")
        if column in header:
            places[name] = header.index(column)
        elif name in needed:
            raise refused(listed, 1, f"there is no column {column!r}")
    return places, len(header)
