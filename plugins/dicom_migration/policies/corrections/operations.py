"""How a rule makes the new value."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from dicom_migration.header_facts import NUL_SHOWN, TEXT_ENCODING
from dicom_migration.policies.corrections.attributes import Keyword, longest
from dicom_migration.policies.corrections.lookups import Lookup
from dicom_migration.policies.corrections.patterns import Pattern, replace_first
from dicom_migration.policies.loading import Policy

UTF_8 = "ISO_IR 192"
CHARSET_KEYWORD = "SpecificCharacterSet"
DateForm = Literal[
    "YYYY-MM-DD",
    "YYYY/MM/DD",
    "YYYY.MM.DD",
    "DD.MM.YYYY",
    "DD/MM/YYYY",
    "MM/DD/YYYY",
    "YYYYMMDDhhmmss",
]
_FORMATS = {
    "YYYY-MM-DD": "%Y-%m-%d",
    "YYYY/MM/DD": "%Y/%m/%d",
    "YYYY.MM.DD": "%Y.%m.%d",
    "DD.MM.YYYY": "%d.%m.%Y",
    "DD/MM/YYYY": "%d/%m/%Y",
    "MM/DD/YYYY": "%m/%d/%Y",
    "YYYYMMDDhhmmss": "%Y%m%d%H%M%S",
}


class Replacement(Policy):
    """A regular expression and what its first match becomes."""

    pattern: Pattern
    by: str


class Padding(Policy):
    """Characters put before (or after) a value until it has `width`."""

    width: int = Field(ge=1, le=64)
    fill: str = Field(default="0", min_length=1, max_length=1)
    side: Literal["left", "right"] = "left"


class Operation(Policy):
    """How the new value is made; exactly one of these.

    Attributes
    ----------
    set
        This value.
    copy_from
        The first of these attributes that has a value.
    map, lookup
        What the value stands for; a value that is not listed stays. The lookup may be in a file,
        and by another attribute: the issuer of a Patient ID, say, by the institution.
    prefix
        With what the lookup finds put before it, once: ids of several sites stay apart.
    truncate
        Only so many characters, or ``vr``: as many as the value representation allows.
    strip, strip_controls
        Without white space at both ends; without control characters and NUL anywhere.
    pad
        Filled up to a width.
    case
        In upper or lower case.
    replace
        With the first match of a regular expression replaced.
    coerce_date
        Written YYYYMMDD (PS3.5 section 6.2, DA), from one of these forms; a date that does not
        exist stays. DD/MM/YYYY and MM/DD/YYYY together are refused.
    declare_charset
        Specific Character Set (0008,0005) that explains the bytes: ``ISO_IR 192`` when they are
        UTF-8, ``ISO_IR 100`` otherwise. The text's bytes stay.
    reencode_from
        Every text of the header is decoded with this character set (``declared``: with the one
        that it declares) and written in UTF-8; Specific Character Set becomes ``ISO_IR 192``.
    """

    set: str | None = None
    copy_from: tuple[Keyword, ...] = ()
    map: dict[str, str] = Field(default_factory=dict)
    lookup: Lookup | None = None
    prefix: Lookup | None = None
    truncate: int | Literal["vr"] | None = None
    strip: bool = False
    strip_controls: bool = False
    pad: Padding | None = None
    case: Literal["upper", "lower"] | None = None
    replace: Replacement | None = None
    coerce_date: tuple[DateForm, ...] = ()
    declare_charset: bool = False
    reencode_from: str = Field(default="", max_length=128)

    @property
    def name(self) -> str:
        """Which operation it is."""
        (given,) = self.model_fields_set
        return given

    @property
    def concerns_charset(self) -> bool:
        """Whether it is one of Specific Character Set, and of no other attribute."""
        return self.name in ("declare_charset", "reencode_from")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one operation")
        if self.set is None and not getattr(self, self.name):
            raise ValueError(f"{self.name} does nothing so")
        if isinstance(self.truncate, int) and self.truncate < 1:
            raise ValueError("truncate to at least one character")
        if {"DD/MM/YYYY", "MM/DD/YYYY"} <= {*self.coerce_date}:
            raise ValueError("DD/MM/YYYY and MM/DD/YYYY cannot be told apart; choose one")
        if self.reencode_from not in ("", "declared"):
            _check_charset(self.reencode_from)
        return self

    def result(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        """Return the new value; `value` itself when there is nothing to do."""
        make: Callable[[str, Mapping[str, str], str], str] = getattr(self, f"_by_{self.name}")
        return make(value, header, keyword)

    def _by_set(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        return self.set or ""

    def _by_copy_from(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        return next((header[k] for k in self.copy_from if header.get(k)), value)

    def _by_map(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        return self.map.get(value, value)

    def _by_lookup(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        found = self.lookup.found(value, header) if self.lookup else None
        return value if found is None else found

    def _by_prefix(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        found = self.prefix.found(value, header) if self.prefix else None
        return value if not found or not value or value.startswith(found) else found + value

    def _by_truncate(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        most = longest(keyword) if self.truncate == "vr" else self.truncate
        return value if most is None or len(value) <= most else value[:most].rstrip()

    def _by_strip(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        return value.strip()

    def _by_strip_controls(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        return "".join(c for c in value if unicodedata.category(c) != "Cc" and c != NUL_SHOWN)

    def _by_pad(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        if self.pad is None or not value:
            return value
        put = value.rjust if self.pad.side == "left" else value.ljust
        return put(self.pad.width, self.pad.fill)

    def _by_case(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        return value.upper() if self.case == "upper" else value.lower()

    def _by_replace(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        if self.replace is None:
            return value
        return replace_first(self.replace.pattern, self.replace.by, value)

    def _by_coerce_date(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        made = (_as_date(value, form) for form in self.coerce_date)
        return next((text for text in made if text), value)

    def _by_declare_charset(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        return UTF_8 if header.get(TEXT_ENCODING) == "utf-8" else "ISO_IR 100"

    def _by_reencode_from(self, value: str, header: Mapping[str, str], keyword: str) -> str:
        return UTF_8 if header.get(TEXT_ENCODING) in ("declared", "8-bit") else value


def _as_date(value: str, form: str) -> str:
    """Return YYYYMMDD of a date that is written in `form`, "" when it is not or does not exist."""
    if not value.isascii() or len(value) != len(form):  # strptime takes shorter parts too
        return ""
    try:
        return f"{datetime.strptime(value, _FORMATS[form]):%Y%m%d}"  # noqa: DTZ007 - a date only
    except ValueError:
        return ""


def _check_charset(declared: str) -> None:
    """Raise ValueError when a term is none of Specific Character Set (PS3.3 C.12.1.1.2)."""
    from pydicom.charset import python_encoding

    unknown = [term for term in declared.split("\\") if term not in python_encoding]
    if unknown:
        raise ValueError(f"{unknown[0]} is not a defined term of Specific Character Set")
