"""Plans the associations of a C-GET: which contexts each carries and what it asks for.

One association carries what most studies hold, and asks for the study. A study of more SOP
classes needs several; then each asks by UID for the instances that it can carry, since some
sources (Orthanc) end the whole operation at the first one that they cannot send. Where a source
does not tell SOP Class UIDs, each asks for the study and takes what comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from dicom_migration.archive.association_request import ProposedContext
from dicom_migration.archive.dimse_retrieve import INSTANCES_A_REQUEST, RetrieveTarget
from dicom_migration.archive.presentation_contexts import batches
from dicom_migration.archive.protocol import InstanceRecord
from dicom_migration.uids import is_valid_uid


@dataclass(frozen=True, slots=True)
class GetAssociation:
    """One association: the storage contexts to propose, and the targets to ask for on it."""

    storage: list[ProposedContext]
    targets: tuple[RetrieveTarget, ...]


@dataclass(frozen=True, slots=True)
class GetPlan:
    """The associations, in order.

    ``disjoint`` tells that they ask for different instances; else each asks for the same, and
    the first after which nothing failed is the last.
    """

    associations: tuple[GetAssociation, ...]
    disjoint: bool


def plan(
    target: RetrieveTarget, expected: tuple[InstanceRecord, ...], sop_classes: tuple[str, ...]
) -> GetPlan:
    """Plan the retrieval of `target`, whose SOP classes are known or guessed in order."""
    carried = list(batches(sop_classes))
    known = bool(expected) and all(is_valid_uid(record.sop_class_uid) for record in expected)
    if len(carried) == 1 or target.sop_instance_uids or not known:
        return GetPlan(tuple(GetAssociation(storage, (target,)) for storage in carried), False)
    associations = tuple(
        GetAssociation(storage, tuple(_by_uid(storage, expected))) for storage in carried
    )
    return GetPlan(associations, True)


def _by_uid(
    storage: list[ProposedContext], expected: tuple[InstanceRecord, ...]
) -> Iterator[RetrieveTarget]:
    """Yield targets, a series and a hundred instances each, for what the contexts carry."""
    classes = {uid for uid, _ in storage}
    records = [record for record in expected if record.sop_class_uid in classes]
    records.sort(key=_series)
    for (study, series), group in groupby(records, key=_series):
        uids = [record.sop_instance_uid for record in group]
        for start in range(0, len(uids), INSTANCES_A_REQUEST):
            yield RetrieveTarget(study, series, tuple(uids[start : start + INSTANCES_A_REQUEST]))


def _series(record: InstanceRecord) -> tuple[str, str]:
    return record.study_instance_uid, record.series_instance_uid
