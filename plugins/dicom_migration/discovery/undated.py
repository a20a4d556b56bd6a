"""The pass for studies that no range of dates matches: ask for everything, keep those.

A source that cuts the answer is asked again by the beginning of the Patient ID. That finds more,
and proves nothing: who has no Patient ID matches no beginning. So what may be left is still named.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_migration.archive import ImageArchive, StudyQuery, StudyRecord, result_cap_of
from dicom_migration.discovery.answers import Answers, parse_date
from dicom_migration.policies.discovery import DiscoveryPolicy

#: What Patient IDs are made of; not the wildcards, nor the backslash (PS3.4 section C.2.2.2.4).
CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase + "-_./ #+:@"


@dataclass(slots=True)
class _Answer:
    """One answer: what of it is undated, and what became of the question."""

    undated: list[StudyRecord]
    capped: bool
    ignored: bool


def find_undated(
    archive: ImageArchive, policy: DiscoveryPolicy, answers: Answers
) -> Iterator[list[StudyRecord]]:
    """Yield the studies without a usable date in lists, one a query; duplicates are left in."""
    whole = _ask(archive, policy, answers, "")
    yield whole.undated
    if not whole.capped:
        return
    allowed = answers.queries + policy.undated_queries
    left = list(reversed(CHARACTERS))
    cut = False
    while left and answers.queries < allowed:
        prefix = left.pop()
        answer = _ask(archive, policy, answers, prefix)
        yield answer.undated
        if answer.ignored:
            left.append(prefix)
            break
        if answer.capped:
            cut = cut or len(prefix) >= 64  # LO holds no more: nothing to cut
            left += [prefix + character for character in reversed(CHARACTERS)]
    answers.capped.append(
        "studies without a usable date"
        if left or cut
        else "studies without a usable date and without a usual Patient ID"
    )


def _ask(archive: ImageArchive, policy: DiscoveryPolicy, answers: Answers, prefix: str) -> _Answer:
    """Ask, and keep of a whole archive's answer what no range matches."""
    answers.queries += 1
    found = 0
    undated = []
    ignored = False
    for record in archive.find_studies(StudyQuery(patient_id_prefix=prefix or None)):
        found += 1
        ignored = ignored or not record.patient_id.lower().startswith(prefix.lower())
        if parse_date(record.study_date) is None:
            undated.append(record)
    return _Answer(undated, policy.looks_capped(found, result_cap_of(archive)), ignored)
