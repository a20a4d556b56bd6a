"""A benchmark run: both sides measured on the same studies, every sample kept in the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import date

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.timed_read import TimedReader, open_timed_reader
from dicom_migration.errors import CONCERNS_EVERYBODY, MigrationError
from dicom_migration.ledger import Ledger, utc_now
from dicom_migration.policies.slas import Operation, Side, SlaPolicy, Temperature
from dicom_migration.policies.tiers import TiersPolicy, load_tiers_policy
from dicom_migration.retrieval.busy_hour import run_busy_hour, run_source_busy_hour
from dicom_migration.retrieval.measuring import Measurement, Stopwatch
from dicom_migration.retrieval.restored import note_lost, restore_measurements
from dicom_migration.retrieval.restoring import (
    expired_since,
    note_expired,
    note_studies,
    restores_of,
)
from dicom_migration.retrieval.run_plan import RunPlan, plan_run
from dicom_migration.retrieval.sample import SampledStudy
from dicom_migration.retrieval.samples import keep_samples
from dicom_migration.retrieval.source_side import access_of
from dicom_migration.retrieval.targets import Target, open_target

log = logging.getLogger(__name__)
SIDES: tuple[Side, ...] = ("cloud", "source")
#: Opens the source once more, for requests side by side.
OpenSource = Callable[[], ImageArchive]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Both ends, the ledger, and what is to be measured.

    Attributes
    ----------
    open_source
        None: the busy hour asks the source one at a time.
    """

    archive: ImageArchive
    store: CloudStore
    ledger: Ledger
    policy: SlaPolicy
    benchmark_id: str
    open_source: OpenSource | None = None

    def run(self, plan: RunPlan) -> dict[str, int]:
        """Measure what `plan` says; see :func:`run_benchmark`."""
        targets = self._targets(plan)
        with ExitStack() as held:
            reader = held.enter_context(closing(open_timed_reader(self.store)))
            gets = self.policy.sample.parallel_gets
            pool = held.enter_context(ThreadPoolExecutor(gets, thread_name_prefix="get"))
            stopwatch = Stopwatch(reader, self.archive, pool)
            measured, done = _in_turn(stopwatch, targets, self.policy)
            measured += self._busy(reader, [t for t in targets if not t.cloud_only], held)
        with self.ledger.read() as connection:
            restores = restores_of(connection, self.benchmark_id)
        measured = note_lost(self.ledger, self.benchmark_id, measured, restores)
        measured += restore_measurements(plan.archived, restores)
        keep_samples(self.ledger, self.benchmark_id, measured)
        return {
            "studies": len(targets),
            "samples": len(measured),
            "failed": sum(m.seconds is None for m in measured),
            "bytes": sum(m.bytes for m in measured),
            "unmeasured": len(targets) - done,
        }

    def _targets(self, plan: RunPlan) -> list[Target]:
        """Open what can be read; what cannot is named and left out."""
        targets = []
        for study in plan.sample.studies:
            target = self._opened(study)
            prior = plan.sample.priors.get(study.study_instance_uid)
            if target is not None and prior is not None:
                target = replace(target, prior=self._opened(prior))
            targets += [] if target is None else [target]
        return targets + self._restored(plan.archived)

    def _restored(self, archived: Sequence[SampledStudy]) -> list[Target]:
        """Return those of which every object can be read now."""
        if not archived or not isinstance(self.store, S3Store):
            return []
        with self.ledger.read() as connection:
            restores = restores_of(connection, self.benchmark_id)
        expired = expired_since(self.store.access, restores, utc_now())
        note_expired(self.ledger, self.benchmark_id, expired)
        awaited = {r.study_instance_uid for r in restores if r.ready_at is None}
        readable = {r.study_instance_uid for r in restores} - awaited - set(expired)
        opened = [self._opened(s) for s in archived if s.study_instance_uid in readable]
        return [replace(target, cloud_only=True) for target in opened if target is not None]

    def _opened(self, study: SampledStudy) -> Target | None:
        try:
            return open_target(self.store, study)
        except MigrationError as error:
            if error.reason in CONCERNS_EVERYBODY:
                raise
            log.warning("Study %s is left out: %s", study.study_instance_uid, error.reason)
            note_studies(self.ledger, self.benchmark_id, {study.study_instance_uid: error})
            return None

    def _busy(
        self, reader: TimedReader, targets: Sequence[Target], held: ExitStack
    ) -> list[Measurement]:
        load, sample = self.policy.busy_hour, self.policy.sample
        gets = load.threads * sample.parallel_gets if load.operation == "whole_study" else 1
        # Clinicians do not share the connections of one viewer.
        pool = held.enter_context(ThreadPoolExecutor(min(gets, 256), thread_name_prefix="busy"))
        measured = run_busy_hour(
            Stopwatch(reader, self.archive, pool), targets, load, self.policy.sample.seed
        )
        if not load.source.enabled:
            return measured
        archives = [self.archive]
        if self.open_source is not None and access_of(self.archive) != "C-MOVE":
            archives = [
                held.enter_context(self.open_source()) for _ in range(load.source.associations)
            ]
        stopwatches = [Stopwatch(reader, archive, pool) for archive in archives]
        return measured + run_source_busy_hour(stopwatches, targets, load, sample.seed)


def run_benchmark(
    archive: ImageArchive,
    store: CloudStore,
    ledger: Ledger,
    policy: SlaPolicy,
    benchmark_id: str,
    today: date,
    waves: Sequence[str] = (),
    *,
    open_source: OpenSource | None = None,
    tiers: TiersPolicy | None = None,
) -> dict[str, int]:
    """Measure a sample of the verified studies, then both ends under the busy hour's load.

    The samples of an earlier try under the same id are replaced. Returns counts: ``studies``,
    ``samples``, ``failed``, ``bytes`` (read in all), ``unmeasured`` (studies that
    ``max_seconds`` left no time for).

    Raises
    ------
    PermanentError
        Reason ``budget_exceeded``, before anything is read.
    """
    with ledger.read() as connection:
        plan = plan_run(
            connection, policy, tiers or load_tiers_policy(), today, waves, benchmark_id
        )
    log.info("Benchmark %s will read %s", benchmark_id, plan.told())
    return Benchmark(archive, store, ledger, policy, benchmark_id, open_source).run(plan)


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
        for operation in _operations(target):
            for side in ("cloud",) if target.cloud_only else sides:
                for temperature in passes:
                    measured.append(stopwatch.measure(target, side, operation, temperature))
    return measured, len(targets)


def _operations(target: Target) -> tuple[Operation, ...]:
    if target.prior is None:
        return ("first_image", "whole_study")
    return ("first_image", "whole_study", "relevant_prior")
