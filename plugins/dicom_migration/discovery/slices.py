"""Parts of an archive that one query can ask for, and how a part is cut into smaller ones.

A part is cut along one axis after the other: dates down to a day, times down to a second (never
across midnight: a source may read a range of dates and one of times as one range, PS3.4 section
C.2.2.2.5), then the beginning of the Patient ID, then that of the Accession Number. The pieces of
dates and times leave no gap between them; a beginning finds only who has one.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import IntEnum

from dicom_migration.archive import StudyQuery, StudyRecord
from dicom_migration.discovery.answers import parse_date, parse_time
from dicom_migration.discovery.windows import dicom_date

#: An open-ended range of dates is cut here first; DICOM has nothing older or newer.
OLDEST, NEWEST = date(1900, 1, 1), date(2100, 12, 31)
LAST_SECOND = 24 * 3600 - 1
#: What identifiers are made of; not the wildcards, nor the backslash (PS3.4 section C.2.2.2.4).
CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase + "-_./ #+:@"
#: The longest Patient ID (LO) and Accession Number (SH): PS3.5 section 6.2.
LONGEST_PATIENT_ID, LONGEST_ACCESSION = 64, 16


class Axis(IntEnum):
    """Along what a part is cut, in the order in which it is tried."""

    DATE = 0
    TIME = 1
    PATIENT = 2
    ACCESSION = 3

    @property
    def attribute(self) -> str:
        """The name of the attribute that the parts are told apart by."""
        return ("Study Date", "Study Time", "Patient ID", "Accession Number")[self]


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the archive.

    Attributes
    ----------
    first, last
        Inclusive Study Dates; None on a side is open-ended, on both any date or none.
    since, until
        Inclusive Study Times in seconds of the day; the whole day asks for no time.
    patient, accession
        What Patient ID and Accession Number begin with; with `exact_patient`, `exact_accession`
        what they are.
    """

    first: date | None = None
    last: date | None = None
    since: int = 0
    until: int = LAST_SECOND
    patient: str = ""
    accession: str = ""
    exact_patient: bool = False
    exact_accession: bool = False

    @property
    def days(self) -> int | None:
        """How many days the part has, None when it is open-ended."""
        if self.first is None or self.last is None:
            return None
        return (self.last - self.first).days + 1

    def query(self) -> StudyQuery:
        """Return the question for this part."""
        return StudyQuery(
            date_from=dicom_date(self.first),
            date_to=dicom_date(self.last),
            time_from=_begin(self.since) if self.since else None,
            time_to=_end(self.until) if self.until < LAST_SECOND else None,
            patient_id_prefix=self.patient or None,
            accession_prefix=self.accession or None,
            patient_id=self.patient if self.exact_patient else None,
            accession_number=self.accession if self.exact_accession else None,
        )

    def cut(self, axis: Axis, pieces: int) -> list[Slice]:
        """Return smaller parts that together are this one, none when it cannot be cut so.

        `pieces` is how many are wanted of dates and times, at least 2.
        """
        if axis is Axis.DATE:
            return self._by_date(pieces)
        if axis is Axis.TIME:
            return self._by_time(pieces)
        return self._by_patient() if axis is Axis.PATIENT else self._by_accession()

    def is_outside(self, axis: Axis, record: StudyRecord) -> bool:
        """Tell whether a study certainly does not belong here: the source ignores the axis."""
        if axis is Axis.DATE:
            day = parse_date(record.study_date)
            return day is not None and not self._holds(day)
        if axis is Axis.TIME:
            second = parse_time(record.study_time)
            return second is not None and not self.since <= second <= self.until
        if axis is Axis.PATIENT:
            return not record.patient_id.lower().startswith(self.patient.lower())
        return not record.accession_number.lower().startswith(self.accession.lower())

    def expects(self, axis: Axis, record: StudyRecord) -> bool:
        """Tell whether a smaller part must bring this study again, if the axis tells it apart.

        A date in a form that only the source understands is the business of the pass without one.
        """
        day = parse_date(record.study_date)
        return axis is not Axis.DATE or (day is not None and self._holds(day))

    def __str__(self) -> str:
        """Name the part for a person, without a beginning of an identifier: it is PHI."""
        if self.first is None and self.last is None:
            return "studies of any date"
        name = f"{self.first or 'the beginning'} to {self.last or 'the future'}"
        if self.since or self.until < LAST_SECOND:
            name += f", {_clock(self.since)} to {_clock(self.until)}"
        return name

    def _holds(self, day: date) -> bool:
        return (self.first or date.min) <= day <= (self.last or date.max)

    def _by_date(self, pieces: int) -> list[Slice]:
        first, last = self.first, self.last
        if first is None:
            if last is None or last < OLDEST:
                return []
            return [replace(self, last=OLDEST - timedelta(days=1)), replace(self, first=OLDEST)]
        if last is None:
            if first > NEWEST:
                return []
            return [replace(self, last=NEWEST), replace(self, first=NEWEST + timedelta(days=1))]
        ranges = _ranges((last - first).days + 1, pieces)
        return [
            replace(self, first=first + timedelta(days=begin), last=first + timedelta(days=end))
            for begin, end in ranges
        ]

    def _by_time(self, pieces: int) -> list[Slice]:
        if self.first is None or self.first != self.last:
            return []
        ranges = _ranges(self.until - self.since + 1, pieces)
        return [
            replace(self, since=self.since + begin, until=self.since + end) for begin, end in ranges
        ]

    def _by_patient(self) -> list[Slice]:
        if self.exact_patient or len(self.patient) >= LONGEST_PATIENT_ID:
            return []
        # Who is called what longer ones begin with is matched by none of those.
        itself = [replace(self, exact_patient=True)] if self.patient else []
        return itself + [replace(self, patient=text) for text in _longer(self.patient)]

    def _by_accession(self) -> list[Slice]:
        if self.exact_accession or len(self.accession) >= LONGEST_ACCESSION:
            return []
        itself = [replace(self, exact_accession=True)] if self.accession else []
        return itself + [replace(self, accession=text) for text in _longer(self.accession)]


def _longer(beginning: str) -> list[str]:
    """Return the beginnings that are one character longer; a space in front means nothing."""
    return [beginning + character for character in CHARACTERS if beginning or character != " "]


def _ranges(length: int, pieces: int) -> Iterator[tuple[int, int]]:
    """Yield inclusive ranges that cover 0 to `length` - 1; none when there is nothing to cut."""
    count = min(pieces, length)
    if count < 2:
        return
    for number in range(count):
        yield number * length // count, (number + 1) * length // count - 1


def _begin(second: int) -> str:
    """Write the beginning of a range of times: ``12``, not ``120000``.

    Sources compare text, and the value ``12`` (PS3.5 section 6.2, TM) is less than ``120000``.
    """
    hours, rest = divmod(second, 3600)
    minutes, seconds = divmod(rest, 60)
    if seconds:
        return f"{hours:02}{minutes:02}{seconds:02}"
    return f"{hours:02}{minutes:02}" if minutes else f"{hours:02}"


def _end(second: int) -> str:
    """Write the end of a range of times, the fractions of its last second included."""
    return _clock(second).replace(":", "") + ".999999"


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
