"""The plan of the synthetic part of the archive: which study of whom, and which defects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from include.sample_archive import studies as performed
from include.sample_archive.identifiers import derive_number, derive_uid
from include.sample_archive.patients import Patient
from include.sample_archive.studies import Protocol, Study

# The hospital's own clock: DICOM dates carry no zone, so which one it is does not matter.
_FIRST_DAY = datetime(2005, 1, 3, tzinfo=UTC)
_WORKING_WEEKS = 1064  # 2005-01-03 to 2025-05-26


@dataclass(frozen=True)
class _Entry:
    """One line of the plan; `partner` counts lines back, as in "the study two lines above"."""

    patient: int
    protocol: Protocol
    defects: tuple[str, ...] = ()
    partner: int = 0
    images: int = 99
    run_length_encoded: bool = False


def plan_studies(seed: int, patients: list[Patient], small: bool) -> list[Study]:
    """Return the planned studies in the order in which they are numbered."""
    planned: list[Study] = []
    for number, entry in enumerate(_SMALL if small else _FULL, start=1):
        moment = _draw_moment(seed, number)
        planned.append(
            Study(
                seed=seed,
                number=number,
                uid=derive_uid(seed, "study", number),
                patient=_who(patients, entry),
                protocol=entry.protocol.shortened(entry.images),
                performed=moment,
                accession_number=_accession_number(moment, number),
                study_id=f"S{number:05d}",
                defects=entry.defects,
                partner=planned[-entry.partner] if entry.partner else None,
                run_length_encoded=entry.run_length_encoded,
            )
        )
    return planned


def plan_placed_studies(
    seed: int, patients: list[Patient], protocols: list[Protocol], first: int
) -> list[Study]:
    """Return one study a protocol, numbered from `first`, of patients whose names are ASCII."""
    plain = [patient for patient in patients if not patient.character_set]
    planned = []
    for number, protocol in enumerate(protocols, start=first):
        moment = _draw_moment(seed, number)
        planned.append(
            Study(
                seed=seed,
                number=number,
                uid=derive_uid(seed, "study", number),
                patient=plain[number % len(plain)],
                protocol=protocol,
                performed=moment,
                accession_number=_accession_number(moment, number),
                study_id=f"S{number:05d}",
            )
        )
    return planned


def _draw_moment(seed: int, number: int) -> datetime:
    """Return when study `number` was performed: a weekday from 2005 to 2025, 7 to 18 o'clock."""
    rng = np.random.default_rng(derive_number(seed, "moment", number))
    day = 7 * int(rng.integers(_WORKING_WEEKS)) + int(rng.integers(5))
    return _FIRST_DAY + timedelta(days=day, seconds=int(rng.integers(7 * 3600, 18 * 3600)))


def _accession_number(moment: datetime, number: int) -> str:
    """Return the order number that the information system gave to study `number`."""
    return f"A{moment:%y%m}{number:05d}"


def _who(patients: list[Patient], entry: _Entry) -> Patient:
    """Return the patient; for mammography the next woman."""
    if entry.protocol.modality != "MG":
        return patients[entry.patient]
    order = patients[entry.patient :] + patients[: entry.patient]
    return next(patient for patient in order if patient.sex == "F")


def _clean(protocol: Protocol, patients: Iterable[int]) -> tuple[_Entry, ...]:
    return tuple(_Entry(patient, protocol) for patient in patients)


_CLEAN = (
    *_clean(performed.CT_HEAD, (0, 5)),
    *_clean(performed.CT_CHEST, (1, 13)),
    *_clean(performed.CT_ABDOMEN, (2,)),
    *_clean(performed.MR_BRAIN, (0, 3, 6, 17)),
    _Entry(9, performed.MR_BRAIN, run_length_encoded=True),
    *_clean(performed.MR_KNEE, (4, 7)),
    *_clean(performed.CR_CHEST, (1, 8, 10, 13, 14)),
    *_clean(performed.CR_HAND, (11, 12)),
    *_clean(performed.MG_SCREENING, (15, 20, 25)),
    *_clean(performed.US_ABDOMEN, (2, 16, 18, 19)),
    *_clean(performed.US_HEART, (10, 21, 22)),
)
_DEFECTIVE = (
    _Entry(23, performed.US_ABDOMEN, ("missing_study_date",), images=4),
    _Entry(24, performed.CR_HAND, ("missing_accession_number",)),
    _Entry(5, performed.CR_HAND),
    _Entry(26, performed.CR_HAND, ("shared_accession_number",), partner=1),
    _Entry(27, performed.MR_KNEE, images=6),
    _Entry(27, performed.CR_HAND, ("patient_under_two_ids",), partner=1),
    _Entry(4, performed.CR_HAND, ("overlong_body_part",)),
    _Entry(6, performed.MR_KNEE, ("overlong_study_description",), images=5),
    _Entry(7, performed.US_ABDOMEN, ("overlong_institution_name",), images=4),
    _Entry(3, performed.CR_HAND, ("charset_utf8_declared_latin1",)),
    _Entry(8, performed.US_ABDOMEN, ("charset_utf8_undeclared",), images=4),
    _Entry(3, performed.MR_KNEE, ("charset_latin1_undeclared",), images=4),
    _Entry(12, performed.CR_CHEST),
    _Entry(14, performed.CR_CHEST, ("duplicate_sop_instance_uid",), partner=1),
    _Entry(19, performed.MR_BRAIN, ("truncated_file",), images=8),
    _Entry(20, performed.MR_KNEE, ("pixel_length_mismatch",), images=5),
    _Entry(11, performed.MR_KNEE, ("explicit_big_endian",), images=4),
    _Entry(16, performed.CR_CHEST, ("deflated",)),
    _Entry(18, performed.CR_HAND, ("no_file_meta",)),
    _Entry(21, performed.US_HEART, ("private_sop_class",)),
    _Entry(22, performed.CR_HAND, ("empty_study",)),
    _Entry(25, performed.US_ABDOMEN, ("study_before_birth",), images=4),
    _Entry(24, performed.CR_HAND, ("absurd_study_date",)),
    _Entry(26, performed.US_ABDOMEN, ("invalid_patient_sex",), images=4),
)
_FULL = _CLEAN + _DEFECTIVE
_SMALL = (
    _Entry(0, performed.CT_HEAD, images=5),
    _Entry(1, performed.MG_SCREENING),
    _Entry(
        2,
        performed.MR_KNEE,
        ("explicit_big_endian", "pixel_length_mismatch", "deflated", "truncated_file"),
        images=4,
    ),
    _Entry(4, performed.US_ABDOMEN, ("missing_study_date", "overlong_institution_name"), images=4),
    _Entry(5, performed.CR_CHEST),
    _Entry(
        6, performed.CR_CHEST, ("shared_accession_number", "duplicate_sop_instance_uid"), partner=1
    ),
    _Entry(6, performed.CR_HAND, ("patient_under_two_ids", "overlong_body_part"), partner=1),
    _Entry(
        3, performed.MR_KNEE, ("charset_latin1_undeclared", "overlong_study_description"), images=3
    ),
    _Entry(8, performed.US_HEART, ("charset_utf8_undeclared", "private_sop_class")),
    _Entry(7, performed.CR_HAND, ("empty_study",)),
    _Entry(
        8,
        performed.CR_HAND,
        ("charset_utf8_declared_latin1", "missing_accession_number", "no_file_meta"),
    ),
    _Entry(1, performed.CR_HAND, ("invalid_patient_sex", "study_before_birth")),
)
