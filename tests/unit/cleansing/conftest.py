"""A wave of made headers, as the collection leaves them in the ledger."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from dicom_migration.ledger import Ledger, schema

NOW = datetime(2025, 11, 1, tzinfo=UTC)
PLAN, WAVE, NEXT_WAVE = "Ptest", "Ptest-W0001", "Ptest-W0002"
GOOD = {
    "text_encoding": "ascii",
    "modality": "CT",
    "patient_id": "P1",
    "patient_name": "Example^Ann",
    "patient_birth_date": "19600101",
    "patient_sex": "F",
    "study_date": "20200101",
    "series_date": "20200101",
    "accession_number": "A1",
    "series_number": "1",
    "instance_number": "1",
    "rows": 512,
    "columns": 512,
    "bits_allocated": 16,
    "samples_per_pixel": 1,
    "photometric_interpretation": "MONOCHROME2",
}
AddStudy = Callable[..., str]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        opened.upgrade()
        with opened.write() as connection:
            connection.execute(
                insert(schema.plan).values(
                    plan_id=PLAN,
                    content_sha256="0" * 64,
                    state="approved",
                    created_at=NOW,
                    approved_by="Ada",
                    approved_at=NOW,
                    summary="{}",
                )
            )
            for ordinal, wave in enumerate((WAVE, NEXT_WAVE), start=1):
                connection.execute(
                    insert(schema.wave).values(
                        wave_id=wave,
                        plan_id=PLAN,
                        ordinal=ordinal,
                        state="planned",
                        updated_at=NOW,
                    )
                )
        yield opened


@pytest.fixture
def add_study(ledger: Ledger) -> AddStudy:
    """Add a study with one header a series; `series` overrides the good header's facts."""

    def add(number: int, *series: dict[str, object], wave: str = WAVE, **columns: object) -> str:
        uid = f"1.2.{number}"
        known = {"patient_id": f"P{number}", **columns}
        with ledger.write() as connection:
            connection.execute(
                insert(schema.study).values(
                    study_instance_uid=uid,
                    source="test",
                    state="planned",
                    wave_id=wave,
                    plan_id=PLAN,
                    first_seen_at=NOW,
                    last_seen_at=NOW,
                    updated_at=NOW,
                    **known,
                )
            )
            for place, facts in enumerate(series, start=1):
                connection.execute(
                    insert(schema.header_fact).values(
                        study_instance_uid=uid,
                        series_instance_uid=f"{uid}.{place}",
                        sop_instance_uid=f"{uid}.{place}.1",
                        **{**GOOD, **facts},
                    )
                )
        return uid

    return add
