"""A benchmark run: both sides measured on the same studies, every sample kept in the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from sqlalchemy import delete, insert

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.slas import Operation, Side, SlaPolicy, Temperature
from dicom_migration.retrieval.busy_hour import run_busy_hour
from dicom_migration.retrieval.measuring import Measurement, Stopwatch, Target, open_target
from dicom_migration.retrieval.sample import plan_sample

log = logging.getLogger(__name__)
SIDES: tuple[Side, ...] = ("cloud", "source")
OPERATIONS: tuple[Operation, ...] = ("first_image", "whole_study")


def run_benchmark(
    archive: ImageArchive,
    store: CloudStore,
    ledger: Ledger,
    policy: SlaPolicy,
    benchmark_id: str,
    today: date,
    waves: Sequence[str] = (),
) -> dict[str, int]:
    """Measure a sample of the verified studies, and the cloud under the busy hour's load.

    The samples of an earlier try under the same id are replaced. Returns counts: ``studies``,
    ``samples``, ``failed``, ``bytes`` (read in all), ``unmeasured`` (studies that
    ``max_seconds`` left no time for).
    """
    with ledger.read() as connection:
        plan = plan_sample(connection, policy.sample, today, waves)
    log.info("Benchmark %s will read %s", benchmark_id, plan.told())
    targets = [open_target(store, study) for study in plan.studies]
    with ThreadPoolExecutor(policy.sample.parallel_gets, thread_name_prefix="get") as pool:
        stopwatch = Stopwatch(store, archive, pool)
        measured, done = _in_turn(stopwatch, targets, policy)
        measured += run_busy_hour(stopwatch, targets, policy.busy_hour, policy.sample.seed)
    _keep(ledger, benchmark_id, measured)
    return {
        "studies": len(targets),
        "samples": len(measured),
        "failed": sum(m.seconds is None for m in measured),
        "bytes": sum(m.bytes for m in measured),
        "unmeasured": len(targets) - done,
    }


def _in_turn(
    stopwatch: Stopwatch, targets: Sequence[Target], policy: SlaPolicy
) -> tuple[list[Measurement], int]:
    """Measure study by study, sides alternating, so that drift hits both alike."""
    deadline = time.monotonic() + policy.sample.max_seconds
    measured: list[Measurement] = []
    passes: list[Temperature] = ["cold"]
    passes += ["warm" for _ in range(policy.sample.warm_repeats)]
    for place, target in enumerate(targets):
        if time.monotonic() > deadline:
            log.warning("Out of time after %d of %d studies.", place, len(targets))
            return measured, place
        sides = SIDES if place % 2 == 0 else SIDES[::-1]
        for operation in OPERATIONS:
            for side in sides:
                for temperature in passes:
                    measured.append(stopwatch.measure(target, side, operation, temperature))
    return measured, len(targets)


def _keep(ledger: Ledger, benchmark_id: str, measured: Sequence[Measurement]) -> None:
    rows = [
        {
            "benchmark_id": benchmark_id,
            "study_instance_uid": m.study.study_instance_uid,
            "side": m.side,
            "operation": m.operation,
            "temperature": m.temperature,
            "modality": m.study.modality,
            "storage_class": m.study.storage_class,
            "study_age_years": m.study.age_years,
            "started_at": m.started_at,
            "seconds": m.seconds,
            "bytes": m.bytes,
            "instances": m.instances,
            "error_reason": m.error_reason,
        }
        for m in measured
    ]
    table = schema.retrieval_sample
    with ledger.write() as connection:
        connection.execute(delete(table).where(table.c.benchmark_id == benchmark_id))
        if rows:
            connection.execute(insert(table), rows)
