"""The question for studies, and how its keys are written for every protocol."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StudyQuery:
    """Which studies to find.

    Attributes
    ----------
    date_from, date_to
        Inclusive Study Date range (0008,0020) as ``YYYYMMDD``; both None means any date,
        undated studies included.
    study_instance_uids
        When not empty, only these studies.
    time_from, time_to
        Inclusive Study Time range (0008,0030) as ``HHMMSS.FFFFFF``, shorter ones included; only
        within one day: a range of dates and one of times do not combine across midnight (PS3.4
        section C.2.2.2.5). A source may ignore it.
    patient_id_prefix, accession_prefix
        When not None, only studies whose Patient ID (0010,0020) or Accession Number (0008,0050)
        begins with it: ASCII without wildcards. A source may ignore it, or match without regard
        to case.
    patient_id, accession_number
        When not None, only studies that have exactly this one; goes before the beginning.
    """

    date_from: str | None = None
    date_to: str | None = None
    study_instance_uids: tuple[str, ...] = ()
    patient_id_prefix: str | None = None
    time_from: str | None = None
    time_to: str | None = None
    accession_prefix: str | None = None
    patient_id: str | None = None
    accession_number: str | None = None

    @property
    def date_range(self) -> str:
        """The Study Date to match, "" for any."""
        return _range(self.date_from, self.date_to)

    @property
    def time_range(self) -> str:
        """The Study Time to match, "" for any."""
        return _range(self.time_from, self.time_to)

    @property
    def patient_key(self) -> str:
        """The Patient ID to match, "" for any."""
        return _key(self.patient_id, self.patient_id_prefix)

    @property
    def accession_key(self) -> str:
        """The Accession Number to match, "" for any."""
        return _key(self.accession_number, self.accession_prefix)


def _key(value: str | None, beginning: str | None) -> str:
    """Write single value or wildcard matching (PS3.4 sections C.2.2.2.1 and C.2.2.2.4)."""
    return value or (f"{beginning}*" if beginning else "")


def _range(first: str | None, last: str | None) -> str:
    """Write the range matching of PS3.4 section C.2.2.2.5.

    A range of one value is written as that value: some sources know no range from X to X.
    """
    if not first and not last:
        return ""
    return first if first and first == last else f"{first or ''}-{last or ''}"
