"""Studies in archive tiers: restored, waited for without a worker, read; expiry is named."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_api import state_manager
from moto.s3.models import s3_backends
from sqlalchemy import select

from dicom_migration.cloud.s3_restore import restore_state
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.policies.slas import Archived, Budget, BusyHour, SlaPolicy
from dicom_migration.policies.slas import Sample as SampleSize
from dicom_migration.policies.tiers import load_tiers_policy
from dicom_migration.retrieval.benchmark import run_benchmark
from dicom_migration.retrieval.restoring import record_ready, request_restores, restores_of
from dicom_migration.retrieval.run_plan import plan_run
from dicom_migration.retrieval.samples import load_samples
from dicom_migration.triggers.restores import RestoresTrigger
from tests.integration.verification.conftest import (  # noqa: F401
    all_real_instances,
    client,
    endpoint,
    ledger,
    store,
)
from tests.integration.verification.written_wave import write_wave

TODAY = date(2025, 3, 1)
POLICY = SlaPolicy(
    sample=SampleSize(studies=4),
    busy_hour=BusyHour(enabled=False),
    archived=Archived(studies=2, keep_days=1),
)


@pytest.fixture
def archived(store, ledger, all_real_instances):  # noqa: F811
    small = [i for i in all_real_instances if len(i.dataset) < 200_000 and i.pixels]
    return write_wave(store, ledger, small[:3], state="verified", storage_class="DEEP_ARCHIVE")


@pytest.fixture
def slow_restores():
    """Restores go on only as :func:`progress` says."""
    state_manager.set_transition("s3::keyrestore", {"progression": "manual", "times": 10**9})
    yield
    state_manager.unset_transition("s3::keyrestore")


def request(wave, policy=POLICY):
    with wave.ledger.read() as connection:
        plan = plan_run(connection, policy, load_tiers_policy(), TODAY)
    now = datetime.now(UTC)
    return request_restores(
        wave.ledger, wave.store, wave.store.access, "B1", plan.archived, policy.archived, now
    )


def trigger(keys, seconds):
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return RestoresTrigger(
        target_conn_id="cloud_target", keys=keys, until=until.isoformat(), poll_seconds=0.1
    )


def fired(waiting):
    async def first():
        return await anext(waiting.run())

    return asyncio.run(first()).payload


@pytest.fixture
def connection(endpoint, client, monkeypatch):  # noqa: F811
    extra = {"region_name": "us-east-1", "endpoint_url": endpoint}
    extra["service_config"] = {"s3": {"bucket_name": "archive"}}
    described = {"conn_type": "aws", "login": "a-test-key", "password": "a-test-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD_TARGET", json.dumps({**described, "extra": extra}))


def samples_of(wave):
    with wave.ledger.read() as reading:
        return load_samples(reading, "B1")


def run(wave):
    return run_benchmark(wave.archive, wave.store, wave.ledger, POLICY, "B1", TODAY)


def test_restored_studies_are_measured_and_so_is_the_restore(archived, connection, slow_restores):
    awaited = request(archived)
    assert awaited
    progress(archived, "IN_PROGRESS")
    assert {restore_state(archived.store.access, k, datetime.now(UTC)).stage for k in awaited} == {
        "restoring"
    }
    timer = threading.Timer(0.5, progress, (archived, "RESTORED"))
    timer.start()
    while awaited:
        event = fired(trigger(awaited, seconds=60))
        assert not event["late"]
        seen_at = datetime.fromisoformat(event["seen_at"])
        ready = {key: datetime.fromisoformat(at) for key, at in event["ready"].items()}
        record_ready(archived.ledger, "B1", ready, seen_at)
        awaited = [key for key in awaited if key not in ready]
    timer.join()
    run(archived)
    found = {(s.side, s.operation, s.temperature) for s in samples_of(archived)}
    assert ("cloud", "restore", "cold") in found
    assert ("cloud", "whole_study", "cold") in found
    assert "source" not in {side for side, _, _ in found}
    restores = [s.seconds for s in samples_of(archived) if s.operation == "restore"]
    assert len(restores) == 2
    assert all(0.4 < seconds < 60 for seconds in restores)


def test_asking_again_asks_for_nothing_new_and_keeps_the_first_time(archived, slow_restores):
    request(archived)
    with archived.ledger.read() as reading:
        first = restores_of(reading, "B1")
    request(archived)
    with archived.ledger.read() as reading:
        assert restores_of(reading, "B1") == first


def test_what_was_asked_for_is_measured_also_when_more_studies_came_meanwhile(
    archived,
    store,  # noqa: F811
    all_real_instances,  # noqa: F811
):
    awaited = request(archived)
    record_ready(archived.ledger, "B1", dict.fromkeys(awaited), datetime.now(UTC))
    small = [i for i in all_real_instances if len(i.dataset) < 200_000 and i.pixels]
    write_wave(
        store,
        archived.ledger,
        small[5:12],
        wave_id="wave-2",
        state="verified",
        storage_class="DEEP_ARCHIVE",
    )
    run(archived)
    reads = [s for s in samples_of(archived) if s.operation == "whole_study"]
    assert len(reads) == 2 * 2  # two studies, cold and warm
    assert all(not s.error_reason for s in reads)


def test_a_restore_that_expired_is_found_and_named(archived):
    for key in request(archived):
        record_ready(archived.ledger, "B1", {key: datetime.now(UTC)}, datetime.now(UTC))
    with archived.ledger.read() as reading:
        uids = {restore.study_instance_uid for restore in restores_of(reading, "B1")}
    expire(archived)
    run(archived)
    table = schema.exception.c
    with archived.ledger.read() as reading:
        rows = reading.execute(select(table.reason, table.study_instance_uid)).all()
    assert {tuple(row) for row in rows} == {("restore_expired", uid) for uid in uids}
    assert [s for s in samples_of(archived) if s.operation != "restore"] == []


def test_a_restore_that_expires_between_the_look_and_the_read_has_the_same_name(
    archived, monkeypatch
):
    for key in request(archived):
        record_ready(archived.ledger, "B1", {key: None}, datetime.now(UTC))
    import dicom_migration.retrieval.benchmark as benchmark

    monkeypatch.setattr(benchmark, "expired_since", lambda *_: expire(archived) or {})
    run(archived)
    reasons = {s.error_reason for s in samples_of(archived) if s.operation != "restore"}
    assert reasons == {"restore_expired"}


def test_a_copy_whose_date_has_passed_cannot_be_read(archived, slow_restores):
    key = request(archived)[0]
    later = datetime.now(UTC) + timedelta(days=3)
    progress(archived, "RESTORED")
    assert restore_state(archived.store.access, key, datetime.now(UTC)).stage == "restored"
    assert restore_state(archived.store.access, key, later).stage == "archived"


def test_the_trigger_tells_when_time_is_up_and_what_is_lost(archived, connection, slow_restores):
    awaited = request(archived)
    progress(archived, "IN_PROGRESS")
    assert fired(trigger(awaited, seconds=0.2))["late"]
    event = fired(trigger(["studies/1.2.3/4.dcm"], seconds=20))
    assert event["lost"]["studies/1.2.3/4.dcm"][0] == "object_missing"
    assert not event["late"]


def test_the_trigger_comes_back_as_it_was_stored():
    before = trigger(["a", "b"], seconds=10)
    path, arguments = before.serialize()
    assert path == "dicom_migration.triggers.restores.RestoresTrigger"
    assert RestoresTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


def test_no_more_is_restored_than_the_policy_bounds(archived):
    policy = POLICY.model_copy(update={"archived": Archived(studies=3, max_objects=1)})
    assert len(request(archived, policy)) == 1
    none = POLICY.model_copy(update={"budget": Budget(max_cost=0.0000001)})
    with pytest.raises(PermanentError) as caught:
        request(archived, none)
    assert caught.value.reason is ReasonCode.BUDGET_EXCEEDED


def progress(wave, status):
    """Let every restore go on to `status`."""
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets["archive"]
    for rows in wave.rows.values():
        for row in rows:
            bucket.keys[row.object_key].status = status


def expire(wave):
    """Take the restored copies away, as S3 does when their days are over."""
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets["archive"]
    for rows in wave.rows.values():
        for row in rows:
            bucket.keys[row.object_key].set_expiry(None)
