"""The governor at work: one worker of all asks source and target how they are, and decides."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import ColumnElement, delete, insert, select

from dicom_migration.archive import ImageArchive, StudyQuery
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import Ledger, schema, utc_now
from dicom_migration.pacing.associations import KIND as ASSOCIATION
from dicom_migration.pacing.associations import slot_prefix
from dicom_migration.pacing.governor import QUIET, Decision, PastProbe, Probe, decide
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.metrics import NO_METRICS, PREFIX, Metrics
from dicom_migration.policies.throttle import GovernorPolicy, ThrottlePolicy

log = logging.getLogger(__name__)

KIND = "governor"
_REMEMBERED = 200
#: As long as ``network.compared_hours`` of slas.yaml may be.
_KEPT = timedelta(days=90)
_SKEW = timedelta(minutes=1)
_T = TypeVar("_T")
_table = schema.governor_probe.c


def present_level(
    ledger: Ledger, scope: str, most: int, clock: Callable[[], datetime] = utc_now
) -> int:
    """Return how many workers may load the source `scope`: the last decision, at most `most`."""
    with ledger.read() as connection:
        level = connection.scalar(
            select(_table.level)
            .where(*_until(scope, clock()))
            .order_by(_table.probed_at.desc(), _table.probe_id.desc())
            .limit(1)
        )
    return most if level is None else max(1, min(most, level))


def office_seconds(policy: GovernorPolicy) -> float:
    """Return how long a governor stays in office without a probe: a pause and a slow probe."""
    return 2 * policy.probe_every_s + 4 * policy.answer_within_s


@dataclass(slots=True)
class Governor:
    """Probes when no other worker does; call :meth:`turn` every few seconds.

    Attributes
    ----------
    scope
        The source.
    leases
        Leases of this governor alone, which nothing else renews: a governor that hangs loses its
        office to another worker.
    open_archive
        Opens the source a second time, with timeouts that bound a probe.
    study_instance_uid
        A study that the source is asked for.
    """

    ledger: Ledger
    scope: str
    policy: ThrottlePolicy
    leases: Leases
    open_archive: Callable[[], ImageArchive]
    store: CloudStore
    study_instance_uid: str
    metrics: Metrics = NO_METRICS
    clock: Callable[[], datetime] = utc_now

    def turn(self) -> Decision | None:
        """Probe, decide, record; None when another worker governs."""
        office = slot_prefix(self.scope)
        if self.leases.acquire(KIND, [office]) is None:
            return None
        probe = self._probe()
        past = self._past()
        workers = self.leases.active(ASSOCIATION, office)
        decision = decide(
            probe,
            past,
            workers=workers,
            most=self.policy.max_associations,
            policy=self.policy.governor,
        )
        if not self.leases.holds(KIND, office):
            return None  # it took so long that another worker governs by now
        self._record(probe, decision)
        self._tell(probe, decision, past[0].level if past else self.policy.max_associations)
        return decision

    def _probe(self) -> Probe:
        """Ask source and target; what fails is told in the outcome."""
        began = self.clock()
        echo_s: float | None = None
        find_s: float | None = None
        target_s: float | None = None
        try:
            with self.open_archive() as archive:
                echo_s = archive.check().latency_s
                query = StudyQuery(study_instance_uids=(self.study_instance_uid,))
                find_s, _ = _timed(lambda: list(archive.find_studies(query)))
            key = f"studies/{self.study_instance_uid}/probe"
            target_s, _ = _timed(lambda: self.store.head(key))
        except MigrationError as error:
            return Probe(began, echo_s, find_s, target_s, error.reason.value, _is_strain(error))
        return Probe(began, echo_s, find_s, target_s)

    def _past(self) -> list[PastProbe]:
        with self.ledger.read() as connection:
            rows = connection.execute(
                select(
                    _table.echo_s,
                    _table.find_s,
                    _table.outcome,
                    _table.level,
                    _table.decision,
                    _table.reason,
                )
                .where(*_until(self.scope, self.clock()))
                .order_by(_table.probed_at.desc(), _table.probe_id.desc())
                .limit(_REMEMBERED)
            )
            return [PastProbe(*row) for row in rows]

    def _record(self, probe: Probe, decision: Decision) -> None:
        with self.ledger.write() as connection:
            connection.execute(
                delete(schema.governor_probe).where(
                    _table.scope == self.scope, _table.probed_at < self.clock() - _KEPT
                )
            )
            connection.execute(
                insert(schema.governor_probe).values(
                    scope=self.scope,
                    probed_at=probe.probed_at,
                    echo_s=probe.echo_s,
                    find_s=probe.find_s,
                    target_s=probe.target_s,
                    outcome=probe.outcome,
                    level=decision.level,
                    decision=decision.step.value,
                    reason=decision.reason,
                )
            )

    def _tell(self, probe: Probe, decision: Decision, before: int) -> None:
        log.log(
            logging.DEBUG if decision.reason == QUIET else logging.INFO,
            "Governor of %s: %d → %d workers (%s: %s); C-ECHO %s, C-FIND %s, HEAD %s",
            self.scope,
            before,
            decision.level,
            decision.step,
            decision.reason,
            *(_told(value) for value in (probe.echo_s, probe.find_s, probe.target_s)),
        )
        self.metrics.count(f"{PREFIX}.governor.decisions", step=decision.step.value)
        self.metrics.gauge(f"{PREFIX}.governor.level", decision.level)
        for name in ("echo", "find", "target"):
            seconds = getattr(probe, f"{name}_s")
            if seconds is not None:
                self.metrics.seconds(f"{PREFIX}.governor.probe", seconds, operation=name)


def _until(scope: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    # One worker whose clock was ahead once would have the last word until that day comes.
    return _table.scope == scope, _table.probed_at <= now + _SKEW


def _is_strain(error: MigrationError) -> bool:
    """Tell whether a failure may come from load; a wrong configuration does not."""
    if isinstance(error, PermanentError):
        return error.reason is ReasonCode.SOURCE_REJECTED
    return isinstance(error, TransientError) and not error.reason.value.startswith("ledger")


def _timed(ask: Callable[[], _T]) -> tuple[float, _T]:
    began = time.perf_counter()
    answer = ask()
    return time.perf_counter() - began, answer


def _told(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.3f} s"
