"""Asks for what is left of a study when the source gave up in the middle.

Some sources (Orthanc's C-MOVE) end the whole operation at the first instance that we refuse. The
others of the study are none the worse for it, so they are asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable

from dicom_migration.archive.dimse_retrieve import INSTANCES_A_REQUEST, RetrieveTarget
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.archive.protocol import InstanceRecord
from dicom_migration.errors import MigrationError


def retrieve_remainder(
    retrieve: Callable[[RetrieveTarget], None],
    receiver: InstanceReceiver,
    expected: tuple[InstanceRecord, ...],
) -> None:
    """Call `retrieve` until every expected instance was delivered or failed.

    The source's counters, which tell of one request each, are forgotten.

    Raises
    ------
    MigrationError
        What a request raised that brought nothing at all.
    """
    while batch := _next_batch(receiver, expected):
        before = _settled(receiver)
        try:
            retrieve(_target(batch))
        except MigrationError:
            if _settled(receiver) == before:
                raise
        if _settled(receiver) == before:
            break  # the source says that it sent everything; the caller sees what is missing
    receiver.outcome.reported_completed = None
    receiver.outcome.reported_failed = None


def _settled(receiver: InstanceReceiver) -> set[str]:
    failed = {failure.sop_instance_uid for failure in receiver.outcome.failures}
    return failed | set(receiver.outcome.delivered)


def _next_batch(
    receiver: InstanceReceiver, expected: tuple[InstanceRecord, ...]
) -> list[InstanceRecord]:
    """Return some instances of one series that nothing is known of."""
    settled = _settled(receiver)
    left = [record for record in expected if record.sop_instance_uid not in settled]
    series = left[0].series_instance_uid if left else ""
    return [r for r in left if r.series_instance_uid == series][:INSTANCES_A_REQUEST]


def _target(batch: list[InstanceRecord]) -> RetrieveTarget:
    uids = tuple(record.sop_instance_uid for record in batch)
    return RetrieveTarget(batch[0].study_instance_uid, batch[0].series_instance_uid, uids)
