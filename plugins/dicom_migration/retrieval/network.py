"""The network test: the way to the store and the source's answer, with a bounded volume.

It may run at any time, during a migration too: what it finds then, less what it finds at rest, is
what the migration costs clinicians.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import delete, func, insert, select

from dicom_migration.archive import ImageArchive, StudyQuery
from dicom_migration.cloud.s3_probe import S3Probe
from dicom_migration.errors import CONCERNS_EVERYBODY, MigrationError
from dicom_migration.ledger import Ledger, schema
from dicom_migration.pacing.associations import KIND as ASSOCIATION
from dicom_migration.pacing.associations import slot_prefix
from dicom_migration.policies.slas import NetworkTest

log = logging.getLogger(__name__)
MIB = 1024**2
_table = schema.network_sample


@dataclass(slots=True)
class _Row:
    kind: str
    started_at: datetime
    seconds: float | None
    bytes: int = 0
    error_reason: str = ""


@dataclass(frozen=True, slots=True)
class SourceQuestions:
    """What the governor of a transfer times at the source, asked the same way."""

    archive: ImageArchive
    study_instance_uid: str

    def latency(self) -> float:
        """Return the latency of its check (C-ECHO or its like) in seconds."""
        return self.archive.check().latency_s

    def find(self) -> float:
        """Ask for one study (C-FIND or QIDO-RS)."""
        query = StudyQuery(study_instance_uids=(self.study_instance_uid,))
        began = time.perf_counter()
        list(self.archive.find_studies(query))
        return time.perf_counter() - began


def run_network_test(
    probe: S3Probe,
    source: SourceQuestions | None,
    ledger: Ledger,
    policy: NetworkTest,
    test_id: str,
    scope: str,
    clock: Callable[[], datetime],
) -> dict[str, float]:
    """Measure, keep every sample, remove what was written; an earlier try's are replaced.

    Parameters
    ----------
    source
        Asked as often as the store; None: not at all (a folder has no other users).
    scope
        The source's name: how many workers load it now is asked of the ledger.

    Returns
    -------
    dict
        ``samples``, ``failed``, ``workers`` (of a transfer, at the source when it began),
        ``bytes`` (both directions).

    Raises
    ------
    TransientError, PermanentError
        An end refuses or does not answer at all, or a probe object could not be removed.
    """
    workers = workers_at_source(ledger, scope, clock())
    rows: list[_Row] = []
    try:
        probe.up(policy.objects, b"x")
        probe.remove()  # what may not be removed is not written by the MiB
        for _ in range(policy.latency_requests):
            rows.append(_timed("connect", probe.connect, clock))
            rows.append(_timed("head", probe.head, clock))
            if source is not None:
                rows.append(_timed("source", source.latency, clock))
                rows.append(_timed("find", source.find, clock))
        rows += _volume(probe, policy, clock)
    finally:
        removed = probe.remove()
        log.info("Removed %d probe objects", removed)
    _keep(ledger, test_id, rows, workers)
    return {
        "samples": len(rows),
        "failed": sum(row.seconds is None for row in rows),
        "workers": workers,
        "bytes": sum(row.bytes for row in rows),
    }


def workers_at_source(ledger: Ledger, scope: str, now: datetime) -> int:
    """Return how many transfer workers hold a turn at the source at this moment."""
    lease = schema.lease.c
    with ledger.read() as connection:
        found = connection.scalar(
            select(func.count()).where(
                lease.kind == ASSOCIATION,
                lease.name.startswith(slot_prefix(scope), autoescape=True),
                lease.expires_at > now,
            )
        )
    return found or 0


def any_study(ledger: Ledger) -> str:
    """Return a study that the source can be asked for, "" when none is known."""
    table = schema.study.c
    with ledger.read() as connection:
        query = select(table.study_instance_uid).where(table.vanished_at.is_(None)).limit(1)
        return connection.scalar(query) or ""


def _volume(probe: S3Probe, policy: NetworkTest, clock: Callable[[], datetime]) -> list[_Row]:
    # Random bytes: a device that compresses on the way would tell a rate that images never see.
    body = random.Random(policy.object_mib).randbytes(policy.object_mib * MIB)
    rows = []
    for number in range(policy.objects):
        up = _timed("up", partial(probe.up, number, body), clock)
        rows.append(up)
        if up.seconds is None:
            continue
        up.bytes = len(body)
        down = _timed("down", partial(probe.down, number), clock)
        down.bytes = len(body) if down.seconds is not None else 0
        rows.append(down)
    return rows


def _timed(kind: str, ask: Callable[[], float], clock: Callable[[], datetime]) -> _Row:
    """Ask once; a failure that is not everybody's is a sample, like a slow answer."""
    began = clock()
    try:
        return _Row(kind, began, ask())
    except OSError:
        return _Row(kind, began, None, error_reason="target_unreachable")
    except MigrationError as error:
        if error.reason in CONCERNS_EVERYBODY:
            raise
        return _Row(kind, began, None, error_reason=error.reason.value)


def _keep(ledger: Ledger, test_id: str, rows: list[_Row], workers: int) -> None:
    with ledger.write() as connection:
        connection.execute(delete(_table).where(_table.c.test_id == test_id))
        connection.execute(
            insert(_table),
            [
                {
                    "test_id": test_id,
                    "kind": row.kind,
                    "started_at": row.started_at,
                    "seconds": row.seconds,
                    "bytes": row.bytes,
                    "error_reason": row.error_reason,
                    "workers": workers,
                }
                for row in rows
            ],
        )
