"""Text in any character set, and bytes in none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding

from dicom_migration.archive.text_values import decode_ascii, decode_text, strip_padding


@pytest.mark.parametrize(
    ("raw", "character_sets", "text"),
    [
        ("Müller^Jörg ".encode("latin-1"), ("ISO_IR 100",), "Müller^Jörg"),
        ("Müller^Jörg".encode(), ("ISO_IR 192",), "Müller^Jörg"),
        ("Люкceмбypг".encode("iso8859-5"), ("ISO_IR 144",), "Люкceмбypг"),
        (
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            ("", "ISO 2022 IR 87"),
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
            ("", "ISO 2022 IR 149"),
            "Hong^Gildong=洪^吉洞",
        ),
    ],
)
def test_names_are_decoded_by_the_character_set_that_they_come_with(
    raw: bytes, character_sets: tuple[str, ...], text: str
) -> None:
    assert decode_text(raw, character_sets, person_name=True) == text


def test_bytes_that_do_not_fit_become_replacement_characters() -> None:
    assert decode_text(b"M\xfcller", ("ISO_IR 192",)) == "M\ufffdller"


def test_an_unknown_character_set_is_read_as_latin() -> None:
    assert decode_text(b"M\xfcller", ("KLINGON",)) == "Müller"


@given(
    raw=st.binary(max_size=60),
    sets=st.lists(st.sampled_from([*python_encoding, "nonsense"]), max_size=3).map(tuple),
    person=st.booleans(),
)
def test_no_bytes_are_ever_refused(raw: bytes, sets: tuple[str, ...], person: bool) -> None:
    assert isinstance(decode_text(raw, sets, person_name=person), str)


def test_padding_is_removed() -> None:
    assert decode_ascii(b"1.2.3\0") == "1.2.3"
    assert strip_padding(" CT \0") == "CT"
