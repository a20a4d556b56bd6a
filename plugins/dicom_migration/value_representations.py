"""What a value of each value representation may look like (PS3.5 section 6.2), as text or bytes."""

from __future__ import annotations

import re
from datetime import date

#: Longest value in characters; of a person name, longest component group.
MAX_CHARACTERS = {
    "AE": 16,
    "AS": 4,
    "CS": 16,
    "DA": 8,
    "DS": 16,
    "DT": 26,
    "IS": 12,
    "LO": 64,
    "LT": 10240,
    "PN": 64,
    "SH": 16,
    "ST": 1024,
    "TM": 16,
    "UI": 64,
}
#: Value representations that a backslash does not divide into values.
SINGLE_VALUED = frozenset({"LT", "ST", "UR", "UT"})
#: Bytes of one value of a binary value representation.
BYTES = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}
#: Of a person name: three component groups, five components each, and no control character.
NAME_GROUPS = r"^[^=\x01-\x1f]{0,64}(=[^=\x01-\x1f]{0,64}){0,2}$"
NAME_COMPONENTS = r"^[^=^]*([\^][^=^]*){0,4}(=[^=^]*([\^][^=^]*){0,4}){0,2}$"
#: Laxer than PS3.5 section 9.1 in one thing, as :mod:`dicom_migration.uids`: leading zeros exist.
UID_FORM = r"^[0-9]+([.][0-9]+)*$"

_FORMS = {
    vr: re.compile(form)
    for vr, form in {
        "AE": r"[\x20-\x5b\x5d-\x7e]*",
        "AS": r"[0-9]{3}[DWMY]",
        "CS": r"[A-Z0-9 _]*",
        "DA": r"[0-9]{8}",
        "DS": r" *[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)? *",
        "DT": r"[0-9]{4}([0-9]{2}){0,5}([.][0-9]{1,6})?([+-][0-9]{4})?",
        "IS": r" *[+-]?[0-9]+ *",
        "TM": r"[0-9]{2}([0-9]{2}([0-9]{2}([.][0-9]{1,6})?)?)?",
        "UI": r"[0-9]+([.][0-9]+)*",
    }.items()
}
_NAME = (re.compile(NAME_GROUPS), re.compile(NAME_COMPONENTS))
#: Values of one attribute that are looked at: a vector of a million is not worth the time.
_LOOKED_AT = 256


def parsed_date(text: str | None) -> date | None:
    """Return the date that ``YYYYMMDD`` says (PS3.5 section 6.2, DA), None when it says none."""
    if not text or len(text) != 8 or not (text.isascii() and text.isdigit()):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def is_person_name(text: str) -> bool:
    """Tell whether one value has the form of a person name (PS3.5 section 6.2.1)."""
    return all(form.match(text) for form in _NAME)


def fits_vr(vr: str, text: str) -> bool:
    """Tell whether no value of `text` is longer than `vr` allows; backslashes divide values."""
    limit = MAX_CHARACTERS.get(vr)
    if limit is None:
        return True
    return all(
        len(part.rstrip(" \0")) <= limit
        for value in _values(vr, text)
        for part in (value.split("=") if vr == "PN" else (value,))
    )


def conforms_to_vr(vr: str, text: str) -> bool:
    """Tell whether every value of `text` has the length and the form of `vr`; empty ones do."""
    return fits_vr(vr, text) and all(
        _has_form(vr, value.rstrip(" \0")) for value in _values(vr, text)[:_LOOKED_AT]
    )


def bytes_conform_to_vr(vr: str, raw: bytes) -> bool:
    """Tell whether a value as written conforms to `vr`.

    Text outside ASCII is not judged here: Specific Character Set decides what a character is.
    """
    if vr in BYTES:
        return len(raw) % BYTES[vr] == 0
    if vr not in MAX_CHARACTERS:
        return True
    if not raw.isascii() or b"\x1b" in raw:
        return vr not in _FORMS
    return conforms_to_vr(vr, raw.decode("ascii"))


def _values(vr: str, text: str) -> list[str]:
    return [text] if vr in SINGLE_VALUED else text.split("\\")


def _has_form(vr: str, value: str) -> bool:
    if not value:
        return True
    if vr == "PN":
        return is_person_name(value)
    if vr == "DA":
        return parsed_date(value) is not None
    form = _FORMS.get(vr)
    return form is None or form.fullmatch(value) is not None
