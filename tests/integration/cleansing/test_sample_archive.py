"""From the sample archive with its planted defects to a cleansed wave, operator by operator."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from moto.server import ThreadedMotoServer
from sqlalchemy import select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger, schema
from dicom_migration.operators.cleansing import (
    CleansingPreflightOperator,
    CollectHeadersOperator,
    CutChunksOperator,
    ProposeCorrectionsOperator,
    RecordCorrectionsApprovalOperator,
    SettleWaveOperator,
)
from dicom_migration.operators.defaults import APPROVED_PLAN, CLEANSED_WAVE
from dicom_migration.operators.dry_run import TryCorrectionsOperator
from dicom_migration.operators.inventory import (
    DiscoveryPreflightOperator,
    OpenInventoryOperator,
    TakeInventoryOperator,
)
from dicom_migration.operators.planning import MakePlanOperator, RecordPlanApprovalOperator
from dicom_migration.operators.quality import ProfileInventoryOperator
from include.sample_archive import build
from include.sample_archive.index import ArchiveIndex

ADA = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "Ada"}}


@dataclass
class Announced:
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class Migration:
    """What the DAGs did, and where to look."""

    index: ArchiveIndex
    ledger_path: Path
    told: dict[str, Any] = field(default_factory=dict)
    announced: dict[Any, Announced] = field(default_factory=lambda: defaultdict(Announced))
    logged: list[str] = field(default_factory=list)

    def run(self, operator: Any) -> Any:
        """Execute an operator as Airflow does, and keep what goes into XCom."""
        first_of_many = SimpleNamespace(try_number=1, max_tries=6)
        context = {
            "run_id": "manual__test",
            "outlet_events": self.announced,
            "ti": first_of_many,
        }
        result = operator.execute(context)
        self.told.setdefault(operator.task_id, []).append(result)
        return result

    def study(self, defect: str) -> str:
        """Return the study that a defect was planted in."""
        return next(p.study_instance_uid for p in self.index.planted if p.code == defect)


@pytest.fixture(scope="module")
def connections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("migration")
    build(folder / "archive", 7, "full")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    extra = {
        "region_name": "us-east-1",
        "endpoint_url": endpoint,
        "service_config": {"s3": {"bucket_name": "copy"}},
    }
    account = {"login": "AKIAEXAMPLEEXAMPLE00", "password": "example"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "PACS_SOURCE": {
                "conn_type": "dicom_folder",
                "extra": {"path": str(folder / "archive")},
            },
            "MIGRATION_LEDGER": {"conn_type": "sqlite", "host": str(folder / "ledger.db")},
            "CLOUD_TARGET": {"conn_type": "aws", **account, "extra": extra},
        }.items():
            patch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(value))
        _create_bucket(endpoint)
        yield folder
    server.stop()


def _create_bucket(endpoint: str) -> None:
    import boto3

    boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="AKIAEXAMPLEEXAMPLE00",
        aws_secret_access_key="example",
        region_name="us-east-1",
    ).create_bucket(Bucket="copy")


@pytest.fixture(scope="module")
def migrated(connections: Path) -> Migration:
    """Run both DAGs' operators in their order; the scheduler's part has its own test."""
    done = Migration(ArchiveIndex.read(connections / "archive"), connections / "ledger.db")
    with everything_logged(done.logged):
        run_both(done)
    return done


@contextmanager
def everything_logged(into: list[str]) -> Iterator[None]:
    """Collect every log record and warning of the process, whatever its level."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            into.append(self.format(record))

    collector, loggers = Collector(level=0), [logging.getLogger(), logging.getLogger("airflow")]
    levels = [logger.level for logger in loggers]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.addHandler(collector)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(collector)
            logger.setLevel(level)


def run_both(done: Migration) -> None:
    done.run(DiscoveryPreflightOperator(task_id="preflight"))
    for windows in done.run(OpenInventoryOperator(task_id="open_inventory")):
        done.run(TakeInventoryOperator(task_id="take_inventory", window_ids=windows))
    done.run(ProfileInventoryOperator(task_id="profile"))
    plan = done.run(MakePlanOperator(task_id="make_plan"))
    with pytest.raises(PermanentError) as early:
        done.run(CleansingPreflightOperator(task_id="choose_too_early"))
    assert early.value.reason is ReasonCode.APPROVAL_MISSING
    done.run(
        RecordPlanApprovalOperator(
            task_id="record_plan",
            plan=plan,
            response={**ADA, "asked_about": plan["content_sha256"]},
            outlets=[APPROVED_PLAN],
        )
    )
    wave = done.run(CleansingPreflightOperator(task_id="choose"))
    for chunk in done.run(CutChunksOperator(task_id="cut_chunks", wave=wave)):
        done.run(CollectHeadersOperator(task_id="collect_headers", chunk=chunk))
    proposal = done.run(ProposeCorrectionsOperator(task_id="propose", wave=wave))
    done.run(TryCorrectionsOperator(task_id="dry_run", proposal=proposal))
    answer = {**ADA, "asked_about": proposal["ruleset_sha256"]}
    done.run(
        RecordCorrectionsApprovalOperator(task_id="record", proposal=proposal, response=answer)
    )
    for _ in range(2):
        done.run(SettleWaveOperator(task_id="settle", proposal=proposal, outlets=[CLEANSED_WAVE]))


@pytest.fixture
def ledger(migrated: Migration) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{migrated.ledger_path}") as opened:
        yield opened


def test_every_study_of_the_source_is_cleansed_or_quarantined(
    migrated: Migration, ledger: Ledger
) -> None:
    found = {
        entry.study_instance_uid
        for entry in migrated.index.studies
        if entry.files and "invalid_study_instance_uid" not in entry.defects
    }
    with ledger.read() as connection:
        rows = connection.execute(select(schema.study)).all()
        quarantined = {row.study_instance_uid for row in rows if row.state == "quarantined"}
        noted = set(connection.scalars(select(schema.exception.c.study_instance_uid)))
    stand_ins = {uid for uid in quarantined if uid.startswith("invalid-")}
    assert {row.study_instance_uid for row in rows} == found | stand_ins
    assert len(stand_ins) == 1
    assert {row.state for row in rows} == {"cleansed", "quarantined"}
    assert quarantined <= noted


@pytest.mark.parametrize(
    ("defect", "reason", "kept_back"),
    [
        ("shared_accession_number", "identity_conflict", False),
        ("patient_under_two_ids", "identity_conflict", False),
        ("duplicate_sop_instance_uid", "instance_conflict", False),
        ("study_before_birth", "field_invalid", True),
        ("absurd_study_date", "field_invalid", True),
    ],
)
def test_a_planted_defect_is_found_under_its_reason(
    migrated: Migration, ledger: Ledger, defect: str, reason: str, kept_back: bool
) -> None:
    uid = migrated.study(defect)
    with ledger.read() as connection:
        reasons = set(
            connection.scalars(
                select(schema.exception.c.reason).where(
                    schema.exception.c.study_instance_uid == uid
                )
            )
        )
        state = connection.scalar(
            select(schema.study.c.state).where(schema.study.c.study_instance_uid == uid)
        )
    assert reasons == {reason}
    assert (state == "quarantined") is kept_back


@pytest.mark.parametrize(
    ("defect", "keyword", "value"),
    [
        ("missing_study_date", "StudyDate", None),
        ("overlong_body_part", "BodyPartExamined", "LUMBAR SPINE AND"),
        ("charset_utf8_declared_latin1", "SpecificCharacterSet", "ISO_IR 192"),
        ("charset_utf8_undeclared", "SpecificCharacterSet", "ISO_IR 192"),
        ("charset_latin1_undeclared", "SpecificCharacterSet", "ISO_IR 100"),
        ("invalid_patient_sex", "PatientSex", "F"),
        ("overlong_study_description", "StudyDescription", None),
        ("overlong_institution_name", "InstitutionName", None),
    ],
)
def test_a_planted_defect_is_corrected_for_the_whole_study(
    migrated: Migration, ledger: Ledger, defect: str, keyword: str, value: str | None
) -> None:
    table = schema.correction.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(schema.correction).where(
                table.study_instance_uid == migrated.study(defect), table.status == "approved"
            )
        ).all()
    assert [(row.keyword, row.series_instance_uid) for row in rows] == [(keyword, "")]
    assert value is None or rows[0].new_value == value


def test_every_rule_is_tried_on_real_instances_before_anybody_approves(
    migrated: Migration, ledger: Ledger
) -> None:
    (tried,) = migrated.told["dry_run"]
    assert tried["instances"] > 10
    assert tried["refused"] == 0
    assert "0 elements changed that no rule names" in tried["text"]
    assert "- PatientSex: `A` → `A` (" in tried["text"]
    with ledger.read() as connection:
        keywords = set(connection.scalars(select(schema.correction.c.keyword)))
    assert all(f"- {keyword}: " in tried["text"] for keyword in keywords)


def test_a_clean_study_is_neither_accused_nor_changed(migrated: Migration, ledger: Ledger) -> None:
    clean = {s.study_instance_uid for s in migrated.index.studies if not s.defects}
    with ledger.read() as connection:
        accused = set(connection.scalars(select(schema.exception.c.study_instance_uid)))
        changed = set(connection.scalars(select(schema.correction.c.study_instance_uid)))
    assert not clean & (accused | changed)
    real = [s for s in migrated.index.studies if not s.defects and s.origin != "synthetic"]
    page = Path(__file__).resolve().parents[3] / "docs" / "cleansing.md"
    assert f"{len(real)} of them real" in page.read_text()


def test_the_wave_is_announced_once_settled_and_settling_again_changes_nothing(
    migrated: Migration,
) -> None:
    wave = migrated.told["choose"][0]["wave_id"]
    assert migrated.announced[CLEANSED_WAVE].extra == {"waves": [wave]}
    assert set(migrated.announced[APPROVED_PLAN].extra) == {"plan_id"}
    first, again = migrated.told["settle"]
    assert first == again
    assert first["cleansed"] + first["quarantined"] == migrated.told["choose"][0]["studies"]


def test_nothing_is_left_to_plan_or_to_cleanse(migrated: Migration) -> None:
    for operator in (
        MakePlanOperator(task_id="plan_again"),
        CleansingPreflightOperator(task_id="choose_again"),
    ):
        with pytest.raises(AirflowSkipException):
            migrated.run(operator)


def test_no_patient_travels_between_tasks_or_stands_in_a_report(
    migrated: Migration, ledger: Ledger
) -> None:
    from dicom_migration.hooks.cloud import open_store

    with ledger.read() as connection:
        rows = connection.execute(
            select(
                schema.study.c.patient_name,
                schema.study.c.patient_id,
                schema.study.c.accession_number,
                schema.study.c.patient_birth_date,
            )
        )
        private = {str(value) for row in rows for value in row if len(str(value)) > 5}
        reports = connection.scalars(select(schema.report.c.object_key)).all()
    # The fixture itself sends documents to S3 in this process: botocore's debugging is not ours.
    ours = [line for line in migrated.logged if "botocore" not in line]
    assert any("studies" in line for line in ours)
    told = json.dumps(migrated.told, default=str) + "\n".join(ours)
    with open_store() as store:
        told += "".join(store.read(key).decode(errors="replace") for key in reports)
    kinds = sorted(key.split("/")[1] for key in reports)
    assert {"cleansing", "data_docs"} < set(kinds)
    assert len(reports) == 5
    assert [value for value in private if value in told] == []


def test_an_approval_stands_for_the_next_wave_without_a_person(migrated: Migration) -> None:
    again = migrated.run(
        ProposeCorrectionsOperator(task_id="propose_again", wave=migrated.told["choose"][0])
    )
    assert again["approved_by"] == "Ada"
    assert again["corrections"] == 0
