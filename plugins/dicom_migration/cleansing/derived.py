"""Columns that expectations cannot compute: what a date is worth, and whether a side is known.

Each distinct date is looked at once, however many headers have it.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame, Series

#: Nobody was imaged before Röntgen, and no patient was born much earlier.
FIRST_STUDY, FIRST_BIRTH = date(1900, 1, 1), date(1850, 1, 1)
#: The facts that the added columns are made of.
SOURCES = ("study_date", "patient_birth_date", "laterality", "image_laterality")


def add_derived(frame: DataFrame, today: date) -> DataFrame:
    """Add the columns; see :func:`dicom_migration.cleansing.facts.wave_frame`."""
    study, birth = frame["study_date"], frame["patient_birth_date"]
    return frame.assign(
        study_date_is=_by_value(study, lambda text: _plausible(text, FIRST_STUDY, today)),
        birth_date_is=_by_value(birth, lambda text: _plausible(text, FIRST_BIRTH, today)),
        birth_before_study=_in_order(birth, study),
        laterality_known=_filled(frame["laterality"]) | _filled(frame["image_laterality"]),
        study_year=_by_value(study, lambda text: text[:4] if parsed_date(text) else ""),
    )


def parsed_date(text: str | None) -> date | None:
    """Return the date that ``YYYYMMDD`` says (PS3.5 section 6.2, DA), None when it says none."""
    if not text or len(text) != 8 or not (text.isascii() and text.isdigit()):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _plausible(text: str, first: date, today: date) -> str | None:
    if not text:
        return None
    parsed = parsed_date(text)
    if parsed is None:
        return "malformed"
    if parsed < first:
        return "too early"
    return "future" if parsed > today else "plausible"


def _by_value(texts: Series, meaning: Any) -> Any:
    """Return the meaning of every text, missing where the text is."""
    import pandas

    codes, distinct = pandas.factorize(texts)
    kind = pandas.StringDtype(na_value=float("nan"))
    meanings = pandas.array([meaning(str(text)) for text in distinct], dtype=kind)
    return meanings.take(codes, allow_fill=True)


def _in_order(first: Series, second: Series) -> Any:
    """Tell whether the first date is not after the second, missing where one is none."""
    from pandas.arrays import BooleanArray

    earlier, later = _days(first), _days(second)
    return BooleanArray(earlier <= later, (earlier == 0) | (later == 0))


def _days(texts: Series) -> Any:
    """Return each date as a number of days, 0 for none."""
    import numpy
    import pandas

    codes, distinct = pandas.factorize(texts)
    dates = (parsed_date(str(text)) for text in distinct)
    days = numpy.array([each.toordinal() if each else 0 for each in dates] + [0])
    return days[codes]  # the code of a missing text is -1: the last one


def _filled(texts: Series) -> Series:
    return texts.notna() & (texts != "")
