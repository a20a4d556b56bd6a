from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dicom_migration.cleansing.collecting import collect_headers
from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from dicom_migration.policies.cleansing import CleansingPolicy
from tests.archives import HeldInstance, MemoryArchive, held_from, real_file
from tests.unit.cleansing.conftest import NOW, WAVE

POLICY = CleansingPolicy()


@pytest.fixture
def held(ledger: Ledger) -> list[HeldInstance]:
    found = [held_from(real_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]
    with ledger.write() as connection:
        for item in found:
            connection.execute(
                schema.study.insert().values(
                    study_instance_uid=item.record.study_instance_uid,
                    source="test",
                    state="planned",
                    wave_id=WAVE,
                    first_seen_at=NOW,
                    last_seen_at=NOW,
                    updated_at=NOW,
                )
            )
    return found


def collect(ledger: Ledger, archive: MemoryArchive, held: list[HeldInstance]) -> Any:
    uids = [item.record.study_instance_uid for item in held]
    return collect_headers(ledger, archive, WAVE, uids, POLICY)


def states(ledger: Ledger) -> dict[str, str]:
    with ledger.read() as connection:
        rows = connection.execute(select(schema.study.c.study_instance_uid, schema.study.c.state))
        return {row.study_instance_uid: row.state for row in rows}


def test_real_headers_are_read_and_reading_again_changes_nothing(
    ledger: Ledger, held: list[HeldInstance]
) -> None:
    archive = MemoryArchive(held)
    assert collect(ledger, archive, held) == collect(ledger, archive, held)
    with ledger.read() as connection:
        rows = connection.execute(select(schema.header_fact)).all()
    assert {row.modality for row in rows} == {"CT", "MR"}
    assert len(rows) == 2


def test_one_unreadable_study_is_quarantined_and_the_rest_goes_on(
    ledger: Ledger, held: list[HeldInstance]
) -> None:
    ct, mr = held
    broken = HeldInstance(ct.record, ct.transfer_syntax_uid, b"\x08\x00\x05\x00XX\xff\xff nonsense")
    counts = collect(ledger, MemoryArchive([broken, mr]), held)
    assert (counts.headers, counts.quarantined) == (1, 1)
    assert states(ledger)[ct.record.study_instance_uid] == "quarantined"
    assert states(ledger)[mr.record.study_instance_uid] == "planned"


def test_each_way_of_missing_has_its_reason(ledger: Ledger, held: list[HeldInstance]) -> None:
    ct, mr = held
    archive = MemoryArchive(
        [ct, mr],
        undeliverable={ct.record.sop_instance_uid: "instance_missing"},
        unlisted={mr.record.sop_instance_uid},
    )
    collect(ledger, archive, held)
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"instance_missing": 1, "study_empty": 1}


def test_a_header_of_another_study_than_the_database_says_is_an_exception(
    ledger: Ledger, held: list[HeldInstance]
) -> None:
    ct, mr = held
    swapped = HeldInstance(ct.record, mr.transfer_syntax_uid, mr.dataset)
    collect(ledger, MemoryArchive([swapped]), [ct])
    with ledger.read() as connection:
        reasons = open_exception_counts(connection)
    assert reasons == {ReasonCode.SOURCE_ANSWER_INVALID.value: 1}


def test_a_source_that_breaks_off_leaves_what_was_read(
    ledger: Ledger, held: list[HeldInstance], tmp_path: Path
) -> None:
    mr = held[1]

    def break_off(item: HeldInstance) -> None:
        if item is mr:
            raise TransientError("gone", reason=ReasonCode.SOURCE_UNREACHABLE)

    archive = MemoryArchive(held, before_delivery=break_off)
    with pytest.raises(TransientError):
        collect(ledger, archive, held)
    with ledger.read() as connection:
        assert connection.scalars(select(schema.header_fact.c.modality)).all() == ["CT"]
    assert set(states(ledger).values()) == {"planned"}
