"""The operators, run with real connections against a real folder, S3 endpoint and ledger."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from sqlalchemy import select

from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import EventChain, Ledger, StudyState, move_studies, schema
from dicom_migration.operators.audits import AuditPixelsOperator
from dicom_migration.operators.defaults import BENCHMARK, CLEANSED_WAVE, VERIFIED_WAVE
from dicom_migration.operators.reading_preflight import (
    RetrievalPreflightOperator,
    VerificationPreflightOperator,
)
from dicom_migration.operators.retrieval import JudgeRetrievalOperator, MeasureRetrievalOperator
from dicom_migration.operators.verification import (
    AnnounceVerifiedOperator,
    IssueCertificatesOperator,
    PlanVerificationOperator,
    RefuseUnansweredOperator,
    RequestTransferOperator,
    SealManifestsOperator,
    SettleMismatchesOperator,
    VerifyShardOperator,
)
from dicom_migration.verification.certificate_check import verify_document
from tests.integration.verification.written_wave import WAVE, WrittenWave, part10


class Run:
    """The context of a run, as small as the operators need it, and what they left in it."""

    def __init__(self, **params: Any) -> None:
        self.pushed: dict[str, Any] = {}
        self.events = {
            asset: SimpleNamespace(extra={}) for asset in (CLEANSED_WAVE, VERIFIED_WAVE, BENCHMARK)
        }
        self.context: Any = {
            "params": params,
            "run_id": "manual__1",
            "triggering_asset_events": {},
            "outlet_events": self.events,
            "ti": SimpleNamespace(
                try_number=1,
                max_tries=4,
                xcom_push=self.push,
            ),
        }

    def push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def connected(
    wave: WrittenWave, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> WrittenWave:
    folder = tmp_path / "source"
    folder.mkdir()
    for number, instance in enumerate(wave.archive.instances):
        (folder / f"{number}.dcm").write_bytes(part10(instance))
    connections = {
        "pacs_source": {"conn_type": "dicom_folder", "extra": {"path": str(folder)}},
        "migration_ledger": {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
        "cloud_target": {
            "conn_type": "aws",
            "login": "a-test-key",
            "password": "a-test-secret",
            "extra": {
                "endpoint_url": endpoint,
                "region_name": "us-east-1",
                "service_config": {"s3": {"bucket_name": "archive"}},
            },
        },
    }
    for name, value in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(value))
    return wave


def verify_all(run: Run) -> dict[str, Any]:
    """Run the verification DAG's tasks up to the certificates, one after the other."""
    shards = PlanVerificationOperator(task_id="plan").execute(run.context)
    waves = run.pushed["waves"]
    outcomes = [
        VerifyShardOperator(task_id="verify_shard", shard=shard).execute(run.context)
        for shard in shards
    ]
    told = {
        "shards": outcomes,
        "audit": AuditPixelsOperator(task_id="audit", waves=waves).execute(run.context),
        "settled": SettleMismatchesOperator(task_id="settle", waves=waves).execute(run.context),
        "sealed": SealManifestsOperator(task_id="seal", waves=waves).execute(run.context),
        "certified": IssueCertificatesOperator(task_id="certify", waves=waves).execute(run.context),
    }
    assert len(json.dumps(told)) < 4000  # what travels between tasks is small
    return told


def test_a_wave_goes_from_transferred_to_certificate_and_benchmark(connected, ledger: Ledger):
    run = Run(wave_id=WAVE)
    told = verify_all(run)
    assert told["shards"][0]["verified"] == len(connected.studies)
    assert told["settled"] == {"redriven": 0, "quarantined": 0, "waves": []}
    assert told["sealed"][WAVE]["success"] is True
    assert 0 < told["sealed"][WAVE]["score_cloud"] <= 1
    assert told["certified"]["complete"] == [WAVE]
    assert told["certified"]["certificates"][WAVE].startswith("s3://archive/reports/certificate/")

    key = told["certified"]["certificates"][WAVE].removeprefix("s3://archive/")
    document = json.loads(connected.store.read(key))
    assert verify_document(document) == []
    assert document["certificate"]["completeness"]["success"] is True
    assert document["certificate"]["counts"]["objects_not_read"] == 0

    with pytest.raises(AirflowSkipException):
        RequestTransferOperator(task_id="again", waves=[]).execute(run.context)
    AnnounceVerifiedOperator(task_id="announce", waves=[WAVE]).execute(run.context)
    assert run.events[VERIFIED_WAVE].extra == {"waves": [WAVE]}

    measured = MeasureRetrievalOperator(task_id="measure", studies="2").execute(run.context)
    assert (measured["studies"], measured["failed"]) == (2, 0)
    judged = JudgeRetrievalOperator(task_id="judge", measured=measured).execute(run.context)
    assert judged["kept"] + judged["breached"] == 3
    assert run.events[BENCHMARK].extra == {"benchmark_id": measured["benchmark_id"]}
    with ledger.read() as connection:
        kinds = sorted(set(connection.scalars(select(schema.report.c.kind))))
        states = set(connection.scalars(select(schema.wave.c.state)))
    assert kinds == ["audit", "certificate", "completeness", "retrieval"]
    assert states == {"verified"}


def test_a_damaged_study_starts_its_transfer_again(connected, client):
    uid = connected.studies[0]
    client.delete_object(Bucket="archive", Key=connected.rows[uid][0].object_key)
    run = Run()
    told = verify_all(run)
    assert told["settled"] == {"redriven": 1, "quarantined": 0, "waves": [WAVE]}
    assert told["certified"]["interim"] == [WAVE]
    assert told["certified"]["unanswered"] == {}
    RequestTransferOperator(task_id="again", waves=[WAVE]).execute(run.context)
    assert run.events[CLEANSED_WAVE].extra == {"waves": [WAVE]}
    with pytest.raises(AirflowSkipException):
        AnnounceVerifiedOperator(task_id="announce", waves=[]).execute(run.context)


PREFLIGHTS = [VerificationPreflightOperator, RetrievalPreflightOperator]


def change_connection(monkeypatch, name: str, **extra: Any) -> None:
    variable = f"AIRFLOW_CONN_{name.upper()}"
    connection = json.loads(os.environ[variable])
    connection["extra"] |= extra
    monkeypatch.setenv(variable, json.dumps(connection))


@pytest.mark.parametrize("preflight", PREFLIGHTS)
def test_sound_ends_pass_the_preflight(connected, preflight):
    told = preflight(task_id="preflight").execute(Run().context)
    assert told["target"]["bucket"] == "archive"


@pytest.mark.parametrize("preflight", PREFLIGHTS)
def test_a_missing_bucket_and_a_missing_source_fail_the_first_task(
    connected, monkeypatch, tmp_path, preflight
):
    change_connection(
        monkeypatch, "cloud_target", service_config={"s3": {"bucket_name": "not-there"}}
    )
    with pytest.raises(PermanentError, match="Create bucket not-there"):
        preflight(task_id="preflight").execute(Run().context)
    change_connection(monkeypatch, "pacs_source", path=str(tmp_path / "not-there"))
    with pytest.raises(MigrationError, match="source_unreachable"):
        preflight(task_id="preflight").execute(Run().context)


@pytest.mark.parametrize("preflight", PREFLIGHTS)
def test_a_policy_or_suite_that_cannot_be_read_fails_the_first_task(
    connected, monkeypatch, tmp_path, preflight
):
    monkeypatch.setenv("DICOM_MIGRATION_INCLUDE", str(tmp_path / "include"))
    with pytest.raises(PermanentError) as caught:
        preflight(task_id="preflight").execute(Run().context)
    assert caught.value.reason is ReasonCode.POLICY_INVALID


def test_studies_without_an_answer_end_the_run_visibly(connected, ledger, monkeypatch):
    lost = connected.studies[0]
    answered = connected.store.stream_into

    def unanswered(self, key, *arguments):
        if lost in key:
            raise TransientError("no answer", reason=ReasonCode.TARGET_UNREACHABLE)
        return answered(key, *arguments)

    monkeypatch.setattr("dicom_migration.cloud.s3.S3Store.stream_into", unanswered)
    run = Run()
    run.context["ti"].max_tries = 0
    certified = verify_all(run)["certified"]
    assert certified["interim"] == [WAVE]
    assert certified["unanswered"] == {WAVE: 1}
    with pytest.raises(TransientError, match=f"1 studies got no answer.*{WAVE}.*verify_shard"):
        RefuseUnansweredOperator(task_id="unanswered", unanswered=certified["unanswered"]).execute(
            run.context
        )
    RefuseUnansweredOperator(task_id="unanswered", unanswered={}).execute(run.context)


def test_a_verified_study_that_changed_at_the_source_is_transferred_again(connected, ledger):
    verify_all(Run(wave_id=WAVE))
    uid = connected.studies[0]
    with ledger.write() as connection:  # as the inventory does, taken again
        move_studies(
            connection, [uid], StudyState.MISMATCHED, EventChain("inventory/2"), payload={}
        )
    told = verify_all(Run())
    assert told["settled"] == {"redriven": 1, "quarantined": 0, "waves": [WAVE]}
    assert told["certified"]["interim"] == [WAVE]
    with ledger.read() as connection:
        state = connection.scalar(
            select(schema.study.c.state).where(schema.study.c.study_instance_uid == uid)
        )
    assert state == "cleansed"


def test_nothing_to_verify_is_skipped_and_an_unknown_wave_refused(connected):
    verify_all(Run())
    with pytest.raises(AirflowSkipException, match="No wave"):
        PlanVerificationOperator(task_id="plan").execute(Run().context)
    with pytest.raises(PermanentError, match="no wave"):
        PlanVerificationOperator(task_id="plan").execute(Run(wave_id="typo").context)
    certified = verify_all(Run(wave_id=WAVE))["certified"]
    assert certified["complete"] == [WAVE]
