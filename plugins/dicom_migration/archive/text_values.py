"""Decodes the text of attributes without ever refusing an answer for a bad byte.

Archives declare one character set and store another, and a row that cannot be decoded must still
be migrated. Undecodable bytes become U+FFFD. Source: DICOM PS3.5 section 6.1 and PS3.3 section
C.12.1.1.2 (Specific Character Set).
"""

from __future__ import annotations

import warnings
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

_PADDING = "\0 \t\r\n"
_LATIN = ("iso8859",)


def strip_padding(text: str) -> str:
    """Remove the spaces and NULs that pad values to even length (PS3.5 section 6.2)."""
    return text.strip(_PADDING)


def decode_ascii(raw: bytes) -> str:
    """Decode a value of a VR of the default repertoire (UI, DA, TM, CS, IS...)."""
    return strip_padding(raw.decode("latin-1"))


def decode_text(raw: bytes, character_sets: tuple[str, ...], *, person_name: bool = False) -> str:
    """Decode a value of a VR that Specific Character Set affects (LO, SH, PN...).

    Parameters
    ----------
    raw
        The bytes of the whole value, backslashes included.
    character_sets
        Values of Specific Character Set (0008,0005); empty for the default repertoire.
    person_name
        True for a PN, whose groups and components reset code extensions (PS3.5 section 6.1.2.5.3).
    """
    if raw.isascii() and b"\x1b" not in raw:
        return strip_padding(raw.decode("ascii"))
    encodings = _python_encodings(character_sets)
    if len(encodings) == 1 and b"\x1b" not in raw:
        return strip_padding(raw.decode(encodings[0], errors="replace"))
    groups = raw.split(b"=") if person_name else [raw]
    delimiters = PN_DELIMS if person_name else TEXT_VR_DELIMS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded = [decode_bytes(group, list(encodings), delimiters) for group in groups]
            return strip_padding("=".join(decoded))
    except Exception:  # noqa: BLE001 - a row is worth more than a character
        return strip_padding(raw.decode(encodings[0], errors="replace"))


@lru_cache(maxsize=256)
def _python_encodings(character_sets: tuple[str, ...]) -> tuple[str, ...]:
    """Translate defined terms to Python codecs; what is unknown is read as Latin-1."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = tuple(convert_encodings(list(character_sets) or [""]))
        for name in found:
            b"".decode(name)
    except Exception:  # noqa: BLE001 - unknown terms raise several types
        return _LATIN
    return found or _LATIN
