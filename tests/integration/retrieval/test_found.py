"""Faults of the copy, and slowness: each is found, and called by its name."""

from __future__ import annotations

import http.client
from contextlib import closing
from datetime import date

import boto3
import pytest
from sqlalchemy import select, update

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.timed_read import open_timed_reader
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.policies.slas import Budget, BusyHour, SlaPolicy, SlaRule, SourceLoad
from dicom_migration.policies.slas import Sample as SampleSize
from dicom_migration.retrieval.benchmark import run_benchmark
from dicom_migration.retrieval.findings import find_out
from dicom_migration.retrieval.results import judge_rules, record_breaches
from dicom_migration.retrieval.samples import load_samples
from tests.integration.cloud.fault_proxy import FaultProxy
from tests.integration.cloud.http_faults import Fault
from tests.integration.verification.conftest import (  # noqa: F401
    all_real_instances,
    client,
    endpoint,
    ledger,
    store,
)
from tests.integration.verification.written_wave import MemoryArchive, write_wave

TODAY = date(2025, 3, 1)
POLICY = SlaPolicy(
    rules=(SlaRule(name="first", operation="first_image", percentile=95, seconds=0.2),),
    sample=SampleSize(studies=3, warm_repeats=1),
    busy_hour=BusyHour(enabled=False),
)


@pytest.fixture
def small_files(all_real_instances):  # noqa: F811
    return [i for i in all_real_instances if len(i.dataset) < 200_000 and i.pixels]


@pytest.fixture
def verified(store, ledger, small_files):  # noqa: F811
    return write_wave(store, ledger, small_files[:8], state="verified")


def run(wave, policy=POLICY, store=None, **more):  # noqa: F811
    store = store or wave.store
    return run_benchmark(wave.archive, store, wave.ledger, policy, "B1", TODAY, **more)


def samples_of(wave):
    with wave.ledger.read() as connection:
        return load_samples(connection, "B1")


def exceptions_of(wave):
    table = schema.exception.c
    with wave.ledger.read() as connection:
        return connection.execute(
            select(table.reason, table.study_instance_uid, table.detail)
        ).all()


@pytest.fixture
def proxied(endpoint):  # noqa: F811
    host, port = endpoint.removeprefix("http://").split(":")
    with FaultProxy(host, int(port)) as proxy:
        keys = {"aws_access_key_id": "a-test-key", "aws_secret_access_key": "a-test-secret"}
        slow = boto3.client("s3", endpoint_url=proxy.url, region_name="us-east-1", **keys)
        with S3Store(slow, "archive") as behind:
            yield proxy, behind


def test_s3_that_answers_late_breaks_the_promise_and_is_named_as_the_cause(verified, proxied):
    proxy, behind = proxied
    proxy.script(Fault.slow(0.4), method="GET", path_ends=".dcm", times=-1)
    run(verified, store=behind)
    results = judge_rules(samples_of(verified), POLICY)
    assert [result.outcome for result in results] == ["breached"]
    assert results[0].cause.name == "S3 first byte"
    record_breaches(verified.ledger, results, "B1")
    ((reason, _, detail),) = exceptions_of(verified)
    assert reason == "sla_breach"
    assert "likely cause: S3 first byte" in detail


def test_an_object_that_is_missing_is_a_failed_sample_and_an_exception_of_its_study(
    verified,
    client,  # noqa: F811
):
    uid = verified.studies[0]
    for row in verified.rows[uid]:
        client.delete_object(Bucket="archive", Key=row.object_key)
    policy = POLICY.model_copy(update={"sample": SampleSize(studies=50)})
    assert run(verified, policy)["failed"] == 4  # first image and whole study, cold and warm
    failed = [s for s in samples_of(verified) if s.error_reason]
    assert {(s.side, s.error_reason) for s in failed} == {("cloud", "object_missing")}
    assert {(reason, study) for reason, study, _ in exceptions_of(verified)} == {
        ("object_missing", uid)
    }


def test_a_study_whose_manifest_is_gone_is_named_and_the_others_are_measured(
    verified,
    client,  # noqa: F811
):
    uid = verified.studies[0]
    with verified.ledger.read() as connection:
        key = connection.scalar(
            select(schema.study.c.manifest_key).where(schema.study.c.study_instance_uid == uid)
        )
    client.delete_object(Bucket="archive", Key=key)
    policy = POLICY.model_copy(update={"sample": SampleSize(studies=50)})
    assert run(verified, policy)["studies"] == len(verified.studies) - 1
    assert [(r, s) for r, s, _ in exceptions_of(verified)] == [("object_missing", uid)]


def test_a_connection_that_breaks_is_tried_once_more_while_the_clock_runs(verified, proxied):
    proxy, behind = proxied
    proxy.script(Fault.connection_reset(), method="GET", path_ends=".dcm", times=1)
    assert run(verified, store=behind)["failed"] == 0


def test_a_store_that_is_busy_is_a_failed_sample(verified, proxied):
    proxy, behind = proxied
    proxy.script(Fault.error(503, "SlowDown"), method="GET", path_ends=".dcm", times=1)
    assert run(verified, store=behind)["failed"] == 1


def test_times_are_broken_down_and_add_up(verified):
    run(verified)
    cold = [s for s in samples_of(verified) if (s.side, s.temperature) == ("cloud", "cold")]
    warm = [s for s in samples_of(verified) if (s.side, s.temperature) == ("cloud", "warm")]
    assert all(s.stages.connect_s > 0 for s in cold)
    assert all(s.seconds == pytest.approx(s.stages.total_s) for s in cold + warm)
    first_images = [s for s in samples_of(verified) if s.operation == "first_image"]
    assert {s.side for s in first_images if s.stages.decode_s} == {"cloud", "source"}


def test_a_first_retrieval_connects_anew_and_a_repeated_one_does_not(
    verified, proxied, monkeypatch
):
    _, behind = proxied
    key = verified.rows[verified.studies[0]][0].object_key
    connects = []
    real = http.client.HTTPConnection.connect
    monkeypatch.setattr(
        http.client.HTTPConnection, "connect", lambda self: connects.append(1) or real(self)
    )
    with closing(open_timed_reader(behind)) as reader:
        opened = []
        for fresh in (True, False, False, True):
            read = reader.read(key, fresh=fresh)
            opened.append(len(connects))
    # The proxy connects to the store behind it for each request; our own connections come on top.
    assert [now - n for n, now in enumerate(opened, 1)] == [1, 1, 1, 2]
    assert read.data == verified.store.read(key)


def test_a_packed_image_is_read_by_its_range(store, ledger, small_files):  # noqa: F811
    wave = write_wave(store, ledger, small_files[:4], state="verified", packed=True)
    run(wave)
    found = {(s.operation, s.access) for s in samples_of(wave) if s.side == "cloud"}
    assert found == {("first_image", "s3-range"), ("whole_study", "s3-object")}


def test_the_relevant_prior_is_the_latest_older_study_like_it(store, ledger, small_files):  # noqa: F811
    wave = write_wave(store, ledger, small_files[:8], state="verified")
    now, latest, earlier, other_part, other_modality = wave.studies[:5]
    parts = {now: "CHEST", latest: "CHEST", earlier: "CHEST", other_part: "KNEE"}
    dates = {now: "20240105", latest: "20230101", earlier: "20200101"}
    with ledger.write() as connection:
        for uid in wave.studies[:5]:
            modality = "MR" if uid == other_modality else "CT"
            connection.execute(
                update(schema.study)
                .where(schema.study.c.study_instance_uid == uid)
                .values(patient_id="P1", modalities=modality, study_date=dates.get(uid, "20231231"))
            )
        connection.execute(
            schema.series.insert(),
            [
                {
                    "study_instance_uid": uid,
                    "series_instance_uid": f"{uid}.1",
                    "modality": "CT",
                    "body_part_examined": part,
                }
                for uid, part in parts.items()
            ],
        )
    run(wave, POLICY.model_copy(update={"sample": SampleSize(studies=50)}))
    table = schema.retrieval_sample.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.study_instance_uid, table.side).where(
                table.operation == "relevant_prior", table.error_reason == ""
            )
        ).all()
    assert {uid for uid, _ in rows} == {latest, earlier}  # of `now`, and of `latest`
    assert {side for _, side in rows} == {"cloud", "source"}


def test_more_than_the_budget_is_refused_before_anything_is_read(verified):
    policy = POLICY.model_copy(update={"budget": Budget(max_requests=5)})
    with pytest.raises(PermanentError) as caught:
        run(verified, policy)
    assert caught.value.reason is ReasonCode.BUDGET_EXCEEDED
    assert "max_requests" in caught.value.message
    assert samples_of(verified) == []


def test_the_busy_source_is_asked_no_more_often_than_the_policy_allows(verified):
    opened = []

    def open_source():
        opened.append(MemoryArchive(verified.archive.instances))
        return opened[-1]

    load = SourceLoad(
        enabled=True, arrivals_per_minute=600, duration_seconds=2, associations=3, max_requests=5
    )
    busy = BusyHour(arrivals_per_minute=60, duration_seconds=0.1, source=load)
    run(verified, POLICY.model_copy(update={"busy_hour": busy}), open_source=open_source)
    asked = [s for s in samples_of(verified) if (s.side, s.temperature) == ("source", "busy")]
    assert len(asked) == 5
    assert all(s.stages.queue_s is not None for s in asked)
    assert len(opened) == 3


def test_the_findings_tell_the_trend_from_the_ledger(verified):
    for benchmark_id in ("B0", "B1"):
        run_benchmark(
            verified.archive, verified.store, verified.ledger, POLICY, benchmark_id, TODAY
        )
    found = find_out(verified.ledger, POLICY, "B1", 3)
    assert [run.benchmark_id for run in found.earlier] == ["B0"]
    assert found.comparisons == []  # one earlier run proves nothing
