"""The governor against a real SCP that answers fast, slowly, or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)
from sqlalchemy import insert, select

from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import Ledger, schema, utc_now
from dicom_migration.pacing.governor import Step
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.probing import Governor, office_seconds, present_level
from dicom_migration.policies.throttle import GovernorPolicy, ThrottlePolicy
from include.peers.process import free_port
from tests.integration.cloud.conftest import (  # noqa: F401 - fixtures
    bucket,
    endpoint,
    moto_server,
    open_store,
    s3,
    store,
)

POLICY = ThrottlePolicy(
    max_associations=4,
    governor=GovernorPolicy(
        max_latency_s=0.5, ignore_below_s=0.3, quiet_probes=2, answer_within_s=5
    ),
)


class Pacs:
    """A query/retrieve SCP whose speed the test sets."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.port = free_port()
        self._ae = AE("PACS")
        self._ae.require_called_aet = True
        for context in (
            Verification,
            StudyRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelGet,
        ):
            self._ae.add_supported_context(context)
        self.start()

    def start(self) -> None:
        handlers = [(evt.EVT_C_ECHO, self._echo), (evt.EVT_C_FIND, self._find)]
        self._server = self._ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=handlers
        )

    def stop(self) -> None:
        self._server.shutdown()

    def _echo(self, _event: evt.Event) -> int:
        return 0x0000

    def _find(self, _event: evt.Event) -> Iterator[tuple[int, None]]:
        time.sleep(self.delay_s)
        yield 0x0000, None


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    running = Pacs()
    yield running
    running.stop()


def governor_of(ledger: Ledger, pacs: Pacs, target: S3Store, holder: str = "one") -> Governor:
    settings = DimseSettings("127.0.0.1", pacs.port, "PACS", connection_timeout_s=2)
    return Governor(
        ledger=ledger,
        scope="dimse:PACS",
        policy=POLICY,
        leases=Leases(ledger, holder, seconds=office_seconds(POLICY.governor)),
        open_archive=lambda: DimseArchive(settings),
        store=target,
        study_instance_uid="1.2.3",
    )


def steps(governor: Governor, probes: int) -> list[tuple[int, Step]]:
    found = []
    for _ in range(probes):
        decision = governor.turn()
        assert decision is not None
        found.append((decision.level, decision.step))
    return found


def work(ledger: Ledger, workers: int) -> None:
    """Let so many workers load the source."""
    for number in range(1, workers + 1):
        leases = Leases(ledger, f"worker-{number}")
        assert leases.acquire("association", [f"dimse:PACS#{number:03d}"])


def test_it_steps_down_when_the_source_is_slow_and_up_when_it_is_quiet(
    ledger: Ledger,
    pacs: Pacs,
    store: S3Store,  # noqa: F811
) -> None:
    governor = governor_of(ledger, pacs, store)
    work(ledger, 4)
    assert steps(governor, 2) == [(4, Step.HOLD)] * 2
    pacs.delay_s = 0.8
    assert steps(governor, 1) == [(2, Step.DOWN)]
    pacs.delay_s = 0.0
    assert steps(governor, 4) == [(2, Step.HOLD), (3, Step.UP), (3, Step.HOLD), (4, Step.UP)]
    assert present_level(ledger, "dimse:PACS", 8) == 4
    table = schema.governor_probe.c
    with ledger.read() as connection:
        slow = connection.execute(
            select(schema.governor_probe).where(table.decision == "down")
        ).one()
    assert slow.find_s > 0.8
    assert slow.echo_s < 0.5
    assert slow.target_s is not None
    assert "C-FIND took" in slow.reason


def test_probes_are_kept_for_a_quarter_of_a_year(
    ledger: Ledger,
    pacs: Pacs,
    store: S3Store,  # noqa: F811
) -> None:
    def put(scope: str, days: int) -> None:
        with ledger.write() as connection:
            connection.execute(
                insert(schema.governor_probe).values(
                    scope=scope,
                    probed_at=utc_now() - timedelta(days=days),
                    outcome="answered",
                    level=days,
                    decision="hold",
                )
            )

    put("dimse:PACS", 89)
    put("dimse:PACS", 91)
    put("dimse:OTHER", 91)
    steps(governor_of(ledger, pacs, store), 1)
    table = schema.governor_probe.c
    with ledger.read() as connection:
        rows = connection.execute(select(table.scope, table.level).order_by(table.probe_id)).all()
    assert [tuple(row) for row in rows[:2]] == [("dimse:PACS", 89), ("dimse:OTHER", 91)]
    assert len(rows) == 3


def test_a_source_that_is_away_or_refuses_us_is_told_from_a_slow_one(
    ledger: Ledger,
    pacs: Pacs,
    store: S3Store,  # noqa: F811
) -> None:
    governor = governor_of(ledger, pacs, store)
    pacs.stop()
    assert steps(governor, 1) == [(1, Step.DOWN)]
    pacs.start()
    assert steps(governor, 2)[-1] == (2, Step.UP)
    table = schema.governor_probe.c
    with ledger.read() as connection:
        outcomes = connection.scalars(select(table.outcome).order_by(table.probe_id)).all()
    assert outcomes == ["source_unreachable", "answered", "answered"]


def test_only_one_worker_governs(
    ledger: Ledger,
    pacs: Pacs,
    store: S3Store,  # noqa: F811
) -> None:
    one, two = (governor_of(ledger, pacs, store, holder) for holder in ("one", "two"))
    assert one.turn() is not None
    assert two.turn() is None
    one.leases.release_all()
    assert two.turn() is not None
