"""Completeness of the cloud copy compared with what the source's headers said."""

from __future__ import annotations

import dataclasses
import json
from datetime import date

import pytest
from sqlalchemy import insert, select

from dicom_migration.ledger import schema
from dicom_migration.operators.completeness import compare_completeness
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.compaction import compact_wave
from tests.integration.verification.written_wave import WAVE, write_wave

POLICY = VerificationPolicy()
TODAY = date(2026, 1, 1)


def compared(store, ledger, instances, headers):
    """Write `instances` into the cloud, `headers` as what cleansing read, and compare."""
    write_wave(store, ledger, instances, state="verified")
    with ledger.write() as connection:
        for one in headers:
            record = one.record
            connection.execute(
                insert(schema.header_fact).values(
                    study_instance_uid=record.study_instance_uid,
                    series_instance_uid=record.series_instance_uid,
                    sop_instance_uid=record.sop_instance_uid,
                    sop_class_uid=record.sop_class_uid,
                    transfer_syntax_uid=one.identity.transfer_syntax_uid,
                    **one.facts,
                )
            )
    return compare_completeness(store, ledger, compact_wave(store, ledger, WAVE, POLICY), TODAY)


@pytest.fixture
def instances(all_real_instances):
    whole = [i for i in all_real_instances if i.facts["patient_id"] and len(i.dataset) < 200_000]
    return sorted(whole, key=lambda i: i.record.sop_instance_uid)[:8]


def without_patient(instance):
    return dataclasses.replace(instance, facts={**instance.facts, "patient_id": None})


def exceptions(ledger):
    with ledger.read() as connection:
        table = schema.exception.c
        return connection.execute(
            select(table.reason, table.study_instance_uid, table.detail)
        ).all()


def test_a_faithful_copy_scores_as_the_source_did(store, ledger, instances):
    result = compared(store, ledger, instances, instances[:4])
    assert result.score("before") == result.score("after")
    assert result.score("cloud") is not None
    assert exceptions(ledger) == []
    with ledger.read() as connection:
        table = schema.quality_result.c
        stored = connection.execute(
            select(table.suite, table.rows_judged).where(table.phase == "completeness")
        ).all()
    assert ("header_general:before", 4) in stored
    assert ("header_general:after", 4) in stored


def test_corrections_raise_the_score(store, ledger, instances):
    result = compared(store, ledger, instances, [without_patient(i) for i in instances])
    assert result.score("after") > result.score("before")
    assert exceptions(ledger) == []


def test_a_study_that_lost_a_critical_field_on_the_way_is_named(store, ledger, instances):
    lost = instances[0]
    result = compared(store, ledger, [without_patient(lost), *instances[1:]], instances)
    assert result.score("after") < result.score("before")
    ((reason, uid, detail),) = exceptions(ledger)
    assert (reason, uid) == ("field_incomplete", lost.record.study_instance_uid)
    assert detail.startswith("Patient ID (0010,0020) is present: met by the source's headers")
    page = result.render()
    assert uid in page
    assert str(lost.facts["patient_id"]) not in page.replace(uid, "")
    assert json.dumps(result.summary())


def test_without_headers_from_cleansing_nothing_is_compared(store, ledger, instances):
    result = compared(store, ledger, instances, [])
    assert result.summary()["score_before"] is None
    assert "nothing to compare with" in result.render()
