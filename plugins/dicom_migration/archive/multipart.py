"""Parses a ``multipart/related`` response while it arrives, with bounded memory.

A study can be hundreds of gigabytes, and a boundary can lie across any two network reads. What
is held is the unread piece, a boundary's length, and the headers of one part. Sources: RFC 2046
section 5.1.1 (delimiters) and DICOM PS3.18 section 8.6.1.2 (multipart media types).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto

from dicom_migration.errors import PermanentError, ReasonCode, TransientError

HEADER_LIMIT = 64 * 1024
"""Bytes that the headers of one part may take."""


class PartEvent(Enum):
    """What the next bytes are; every part is a BEGIN, any number of DATA, and an END."""

    BEGIN = auto()
    DATA = auto()
    END = auto()


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


Event = tuple[PartEvent, bytes]
"""The headers of a part (BEGIN), a piece of its body (DATA), or nothing (END)."""


def boundary_of(content_type: str) -> str:
    """Return the boundary of a Content-Type, quoted or not (RFC 2045 section 5.1).

    Raises
    ------
    PermanentError
        The response is not ``multipart/related`` or has no boundary.
    """
    found = re.search(r';\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', content_type, re.I)
    if not content_type.lower().startswith("multipart/related") or found is None:
        raise PermanentError(
            "The source did not answer a retrieval with multipart/related.",
            reason=ReasonCode.SOURCE_ANSWER_INVALID,
            next_step="Check that the URL is the root of a DICOMweb service (WADO-RS).",
        )
    return found.group(1) or found.group(2)


class MultipartParser:
    """Splits fed bytes into part events.

    Parameters
    ----------
    boundary
        The boundary parameter of the Content-Type, without quotes or leading hyphens.
    """

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        # The first delimiter may stand at the very start: pretend that a line ended before it.
        self._held = b"\r\n"
        self._state = _State.PREAMBLE

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that `data` completes; exhaust the iterator before the next call."""
        self._held = self._held + data if self._held else data
        while True:
            before = self._state, len(self._held)
            yield from self._step()
            if before == (self._state, len(self._held)) or not self._held:
                return

    def finish(self) -> None:
        """Say that the response ended.

        Raises
        ------
        TransientError
            The closing delimiter never came: the last part is not whole.
        """
        if self._state is not _State.EPILOGUE:
            raise TransientError(
                "The source ended a retrieval in the middle of an answer.",
                reason=ReasonCode.SOURCE_FAILED,
                next_step="Retry; if it happens again, look for a time limit of a proxy.",
            )

    def _step(self) -> Iterator[Event]:
        if self._state is _State.HEADERS:
            yield from self._read_headers()
        elif self._state is _State.EPILOGUE:
            self._held = b""
        else:
            yield from self._read_until_delimiter()

    def _read_until_delimiter(self) -> Iterator[Event]:
        found = self._held.find(self._delimiter)
        if found < 0:
            # Whatever may be the beginning of a delimiter stays until more arrives.
            keep = self._possible_start()
            piece, self._held = self._held[:keep], self._held[keep:]
            yield from self._body(piece)
            return
        after = found + len(self._delimiter)
        tail = self._held[after : after + HEADER_LIMIT]
        line_end = tail.find(b"\r\n")
        if tail.startswith(b"--"):
            yield from self._end_part(self._held[:found])
            self._state, self._held = _State.EPILOGUE, b""
        elif line_end >= 0 and not tail[:line_end].strip(b" \t"):
            yield from self._end_part(self._held[:found])
            # The line end is kept: headers end with an empty line, and there may be no header.
            self._state, self._held = _State.HEADERS, self._held[after + line_end :]
        elif self._undecided(tail):
            piece, self._held = self._held[:found], self._held[found:]
            yield from self._body(piece)
        else:
            # The boundary string followed by anything else is part of the body.
            piece, self._held = self._held[: found + 2], self._held[found + 2 :]
            yield from self._body(piece)

    @staticmethod
    def _undecided(tail: bytes) -> bool:
        """Tell whether more bytes may still turn what follows a boundary into a line end."""
        rest = tail.lstrip(b" \t")
        return len(tail) < HEADER_LIMIT and rest in (b"", b"\r", b"-")

    def _possible_start(self) -> int:
        """Return the offset from which the held bytes may begin a delimiter."""
        window = max(0, len(self._held) - len(self._delimiter) + 1)
        start = self._held.find(b"\r", window)
        while start >= 0 and not self._delimiter.startswith(self._held[start:]):
            start = self._held.find(b"\r", start + 1)
        return start if start >= 0 else len(self._held)

    def _body(self, piece: bytes) -> Iterator[Event]:
        if piece and self._state is _State.BODY:
            yield PartEvent.DATA, piece

    def _end_part(self, piece: bytes) -> Iterator[Event]:
        yield from self._body(piece)
        if self._state is _State.BODY:
            yield PartEvent.END, b""

    def _read_headers(self) -> Iterator[Event]:
        end = self._held.find(b"\r\n\r\n")
        if end > HEADER_LIMIT or (end < 0 and len(self._held) > HEADER_LIMIT):
            raise PermanentError(
                f"The source sent part headers of more than {HEADER_LIMIT} bytes.",
                reason=ReasonCode.SOURCE_ANSWER_INVALID,
                next_step="Check that the URL is the root of a DICOMweb service (WADO-RS).",
            )
        if end < 0:
            return
        headers = self._held[2:end]
        self._state, self._held = _State.BODY, self._held[end + 4 :]
        yield PartEvent.BEGIN, headers
