"""Lists in the operators of the cleansing DAG: read, approved, refused; nobody's name gets out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import func, select

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
from dicom_migration.operators.inventory import (
    DiscoveryPreflightOperator,
    OpenInventoryOperator,
    TakeInventoryOperator,
)
from dicom_migration.operators.planning import MakePlanOperator, RecordPlanApprovalOperator
from dicom_migration.operators.quality import ProfileInventoryOperator
from include.sample_archive.index import ArchiveIndex
from tests.integration.cleansing.test_sample_archive import (
    ADA,
    Migration,
    connections,  # noqa: F401 - fixture
)

ROOT = Path(__file__).resolve().parents[3]
POLICY = """
patients:
  file: {}
  columns: {{name: name}}
  cross_checks: [name]
"""


def planned(folder: Path) -> Migration:
    done = Migration(ArchiveIndex.read(folder / "archive"), folder / "ledger.db")
    done.run(DiscoveryPreflightOperator(task_id="preflight"))
    for windows in done.run(OpenInventoryOperator(task_id="open_inventory")):
        done.run(TakeInventoryOperator(task_id="take_inventory", window_ids=windows))
    done.run(ProfileInventoryOperator(task_id="profile"))
    plan = done.run(MakePlanOperator(task_id="make_plan"))
    response = {**ADA, "asked_about": plan["content_sha256"]}
    done.run(RecordPlanApprovalOperator(task_id="approved", plan=plan, response=response))
    return done


def test_a_list_is_read_shown_masked_approved_and_bound_to_its_approval(
    connections: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    include = tmp_path / "include"
    for name in ("policies", "cleansing", "expectations", "templates"):
        shutil.copytree(ROOT / "include" / name, include / name)
    monkeypatch.setenv("DICOM_MIGRATION_INCLUDE", str(include))
    done = planned(connections)
    with Ledger(f"sqlite:///{done.ledger_path}") as ledger, ledger.read() as connection:
        table = schema.study.c
        one, other = connection.execute(
            select(table.patient_id, table.patient_name)
            .where(func.length(table.patient_id) > 5, table.patient_name != "")
            .where(table.wave_id != "")
            .distinct()
            .order_by(table.patient_id)
            .limit(2)
        ).all()
    merges = tmp_path / "merges.csv"
    (include / "policies" / "identity.yaml").write_text(POLICY.format(merges))
    merges.write_text(f"old_id,surviving_id,name\n{one.patient_id}\n")
    with pytest.raises(PermanentError, match=r"merges\.csv refused, line 2:") as refused:
        done.run(CleansingPreflightOperator(task_id="refused"))
    assert refused.value.reason is ReasonCode.POLICY_INVALID
    merges.write_text(
        "old_id,surviving_id,name\n"
        f"{one.patient_id},ZZSURVIVOR,{one.patient_name}\n"
        f"{other.patient_id},ZZSOMEBODY,ZZELSE^Somebody\n"
    )
    wave = done.run(CleansingPreflightOperator(task_id="choose"))
    for chunk in done.run(CutChunksOperator(task_id="cut_chunks", wave=wave)):
        done.run(CollectHeadersOperator(task_id="collect_headers", chunk=chunk))
    proposal = done.run(ProposeCorrectionsOperator(task_id="propose", wave=wave))
    answer = {**ADA, "asked_about": proposal["ruleset_sha256"]}
    done.run(RecordCorrectionsApprovalOperator(task_id="r", proposal=proposal, response=answer))
    approved = merges.read_text()
    merges.write_text(approved + "A,B,C\n")
    with pytest.raises(PermanentError) as changed:
        done.run(SettleWaveOperator(task_id="settle_too_early", proposal=proposal))
    assert changed.value.reason is ReasonCode.APPROVAL_MISSING
    merges.write_text(approved)
    done.run(SettleWaveOperator(task_id="settle", proposal=proposal))
    assert outcome(done, one.patient_id, other.patient_id) == (
        {"ZZSURVIVOR"},
        {"list:patients/name-differs"},
        {"quarantined"},
    )
    logged = capsys.readouterr()
    outside = logged.out + logged.err + json.dumps(done.told, default=str) + reports(done)
    private = ("ZZSURVIVOR", "ZZSOMEBODY", "ZZELSE", one.patient_id, one.patient_name)
    assert [value for value in private if value in outside] == []
    assert "master-patient-list" in outside


def outcome(done: Migration, merged: str, doubtful: str) -> tuple[set[str], set[str], set[str]]:
    """Return the new identifiers of one patient; the exceptions and states of another's studies."""
    correction, note, study = schema.correction.c, schema.exception.c, schema.study.c
    with Ledger(f"sqlite:///{done.ledger_path}") as ledger, ledger.read() as connection:
        new = connection.scalars(
            select(correction.new_value).where(
                correction.old_value == merged,
                correction.keyword == "PatientID",
                correction.status == "approved",
            )
        )
        theirs = select(note.study_instance_uid).where(note.subject.startswith("list:"))
        subjects = connection.scalars(select(note.subject).where(note.subject.startswith("list:")))
        states = connection.scalars(
            select(study.state).where(
                study.study_instance_uid.in_(theirs), study.patient_id == doubtful
            )
        )
        return set(new), set(subjects), set(states)


def reports(done: Migration) -> str:
    from dicom_migration.hooks.cloud import open_store

    with Ledger(f"sqlite:///{done.ledger_path}") as ledger, ledger.read() as connection:
        keys = connection.scalars(select(schema.report.c.object_key)).all()
    with open_store() as store:
        return "".join(store.read(key).decode(errors="replace") for key in keys)
