"""The attributes that a rule may read and change: those that the ledger keeps of every header."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from dicom_migration.header_facts import TEXT_FACTS

KEYWORDS: frozenset[str] = frozenset(keyword for _, keyword in TEXT_FACTS)


def _known_keyword(keyword: str) -> str:
    if keyword not in KEYWORDS:
        raise ValueError(f"{keyword} is not an attribute that is collected from headers")
    return keyword


Keyword = Annotated[str, AfterValidator(_known_keyword)]


def longest(keyword: str) -> int | None:
    """Return how many characters a value of the attribute may have, None when any number.

    PS3.5 section 6.2, table 6.2-1. Person Name (PN): of each component group.
    """
    from pydicom.datadict import dictionary_VR

    return _LONGEST.get(dictionary_VR(keyword))


_LONGEST = {
    "AE": 16, "AS": 4, "CS": 16, "DA": 8, "DS": 16, "DT": 26, "IS": 12, "LO": 64, "LT": 10240,
    "PN": 64, "SH": 16, "ST": 1024, "TM": 14, "UI": 64,
}  # fmt: skip
