"""The multipart parser against a whole answer, an answer in crumbs, and garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_migration.archive.multipart import (
    HEADER_LIMIT,
    MultipartParser,
    PartEvent,
    boundary_of,
)
from dicom_migration.errors import PermanentError, ReasonCode, TransientError

BOUNDARY = "a1-b2"
# Bodies that look like what they stand between.
TRICKY = st.sampled_from(
    [b"", b"\r", b"\r\n", b"\r\n--", b"\r\n--a1-b", b"\r\n--a1-b2x", b"--a1-b2\r\n", b"\r\n\r\n"]
)
BODY = st.lists(st.one_of(st.binary(max_size=40), TRICKY), max_size=4).map(b"".join)


def encoded(bodies: list[bytes], preamble: bytes = b"", closed: bool = True) -> bytes:
    parts = b"".join(
        b"\r\n--" + BOUNDARY.encode() + b"\r\nContent-Type: application/dicom\r\n\r\n" + body
        for body in bodies
    )
    answer = parts + (b"\r\n--" + BOUNDARY.encode() + b"--\r\n" if closed else b"")
    return preamble + (answer if preamble else answer[2:])


def parsed(answer: bytes, size: int, boundary: str = BOUNDARY) -> list[bytes]:
    """Return the bodies; the answer is fed in pieces of `size` bytes."""
    parser = MultipartParser(boundary)
    bodies: list[bytes] = []
    inside = False
    for start in range(0, len(answer), size):
        for event, data in parser.feed(answer[start : start + size]):
            if event is PartEvent.BEGIN:
                assert not inside
                inside = True
                bodies.append(b"")
            elif event is PartEvent.DATA:
                assert inside
                assert data
                bodies[-1] += data
            else:
                assert inside
                inside = False
    parser.finish()
    assert not inside
    return bodies


@given(bodies=st.lists(BODY, max_size=4), size=st.integers(1, 80), preamble=st.booleans())
def test_bodies_come_out_as_they_went_in(bodies: list[bytes], size: int, preamble: bool) -> None:
    # A body that holds a whole delimiter line would end there, by the standard.
    bodies = [
        body.replace(b"\r\n--a1-b2\r\n", b"").replace(b"\r\n--a1-b2--", b"") for body in bodies
    ]
    bodies = [body for body in bodies if b"\r\n--a1-b2" not in body or b"a1-b2x" in body]
    answer = encoded(bodies, b"to be ignored" if preamble else b"")
    assert parsed(answer, size) == parsed(answer, len(answer)) == bodies


@given(data=st.binary(max_size=300), size=st.integers(1, 50))
def test_garbage_is_truncated_and_never_hangs(data: bytes, size: int) -> None:
    with pytest.raises(TransientError, match="middle of an answer"):
        parsed(data.replace(BOUNDARY.encode(), b""), size)


@given(cut=st.integers(1, 200), size=st.integers(1, 50))
def test_an_answer_cut_short_is_an_error(cut: int, size: int) -> None:
    answer = encoded([b"x" * 100, b"y" * 60])
    closing = answer.rindex(b"--")
    with pytest.raises(TransientError) as caught:
        parsed(answer[: max(closing - cut, 0)], size)
    assert caught.value.reason is ReasonCode.SOURCE_FAILED


def test_what_is_held_back_is_less_than_a_boundary() -> None:
    parser = MultipartParser(BOUNDARY)
    list(parser.feed(encoded([b""], closed=False)))
    given_out = sum(len(data) for _, data in parser.feed(b"z" * 1_000_000 + b"\r\n--a1"))
    assert given_out == 1_000_000


def test_blanks_after_a_boundary_are_transport_padding() -> None:
    answer = b"--a1-b2 \t\r\n\r\nbody\r\n--a1-b2-- "
    assert parsed(answer, 1) == parsed(answer, 99) == [b"body"]


def test_endless_headers_are_refused() -> None:
    parser = MultipartParser(BOUNDARY)
    list(parser.feed(b"--a1-b2\r\nX: " + b"x" * (HEADER_LIMIT - 100)))
    with pytest.raises(PermanentError, match="part headers"):
        list(parser.feed(b"x" * 100))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', "abc"),
        ('Multipart/Related;boundary="a b:c";type="application/dicom"', "a b:c"),
        ("multipart/related; BOUNDARY=x-y_z; type=application/dicom", "x-y_z"),
    ],
)
def test_the_boundary_may_be_quoted(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", ["", "text/html", "multipart/related", "application/dicom"]
)
def test_anything_but_multipart_related_is_no_answer(content_type: str) -> None:
    with pytest.raises(PermanentError) as caught:
        boundary_of(content_type)
    assert caught.value.reason is ReasonCode.SOURCE_ANSWER_INVALID
