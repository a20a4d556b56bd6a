"""Finds out more of a source than its greeting tells, at the price of a few associations.

What it stores instances in, how many associations it holds at once, and in which character sets
it answers. Sources: DICOM PS3.8 section 9.3.3 (negotiation), PS3.5 section 6.1 (character sets).
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import date, timedelta
from itertools import islice

from dicom_migration.archive import dimse_query, records
from dicom_migration.archive.association_request import ProposedContext, request_association
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.archive.presentation_contexts import (
    MAX_CONTEXTS,
    QUERY_SYNTAXES,
    storage_syntaxes,
)
from dicom_migration.archive.protocol import StudyQuery
from dicom_migration.errors import MigrationError, PermanentError

#: One SOP class of each kind: CT, MR, digital X-ray, ultrasound multi-frame, report.
_SOP_CLASSES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "4", "1.1", "3.1", "88.22")
)
_DAYS, _ANSWERS = 30, 200


def storage_facts(settings: DimseSettings) -> dict[str, str]:
    """Return by SOP class the transfer syntaxes in which the source would send it (C-GET).

    One context each: given a choice, a source names only the one that it prefers.
    """
    contexts: list[ProposedContext] = []
    for sop_class in _SOP_CLASSES:
        contexts += [(sop_class, (syntax,)) for syntax in storage_syntaxes(sop_class)]
    try:
        proposed = contexts[:MAX_CONTEXTS]
        with request_association(settings, proposed, _SOP_CLASSES) as association:
            accepted = list(association.contexts.values())
    except PermanentError:
        accepted = []  # refuses storage on an association of its own: some want a query beside it
    return {
        f"storage_{sop_class}": " ".join(
            sorted(c.transfer_syntax for c in accepted if c.abstract_syntax == sop_class)
        )
        or "not accepted"
        for sop_class in _SOP_CLASSES
    }


def association_facts(settings: DimseSettings, limit: int) -> dict[str, str]:
    """Return how many associations the source held at the same time, up to `limit`."""
    held = 0
    with ExitStack() as opened:
        while held < limit:
            try:
                opened.enter_context(
                    request_association(settings, [(dimse_query.STUDY_ROOT_FIND, QUERY_SYNTAXES)])
                )
            except MigrationError:
                break
            held += 1
    return {"associations": f"at least {held}" if held == limit else str(held)}


def character_sets(settings: DimseSettings, today: date) -> dict[str, str]:
    """Return the character sets of the first answers for the last month, as they are declared.

    The rest of a long answer is not waited for: the association is aborted.
    """
    month = StudyQuery(
        date_from=f"{today - timedelta(days=_DAYS):%Y%m%d}", date_to=f"{today:%Y%m%d}"
    )
    found: set[str] = set()
    association = request_association(settings, [(dimse_query.STUDY_ROOT_FIND, QUERY_SYNTAXES)])
    try:
        answers = dimse_query.find(
            association, dimse_query.study_keys(month), settings.dimse_timeout_s
        )
        count = 0
        for answer in islice(answers, _ANSWERS):
            count += 1
            found.add("\\".join(answer.get(records.SPECIFIC_CHARACTER_SET, ())) or "none declared")
    except MigrationError:
        association.abort()
        return {"character_sets": "not told"}
    if count < _ANSWERS:
        association.release()
    else:
        association.abort()
    return {"character_sets": ", ".join(sorted(found)) or "no studies"}
