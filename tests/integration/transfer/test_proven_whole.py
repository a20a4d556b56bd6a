"""A study is proven whole by the source's count, and by its list where the count is not met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import update

from dicom_migration.archive import InstanceRecord
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.transfer import TransferPolicy
from tests.archives import HeldInstance, MemoryArchive
from tests.integration.transfer.conftest import in_order_of_transfer
from tests.integration.transfer.test_packed_transfer import ct
from tests.integration.transfer.test_transfer_shard import (
    fingerprint,
    manifests,
    reasons,
    states,
    transfer,
)

STUDY = "1.2.3.1"
INSTANCES = 6
LAYOUTS = pytest.mark.parametrize("layout", ["instance", "series-zip"])


@dataclass
class ListingArchive(MemoryArchive):
    """Remembers which studies it was asked to list."""

    listed: list[str] = field(default_factory=list)

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        self.listed.append(study_instance_uid)
        return super().find_instances(study_instance_uid, series_instance_uid)


@pytest.fixture
def held() -> list[HeldInstance]:
    """One study of two series."""
    return [ct(series, number) for series in (1, 2) for number in (1, 2, 3)]


@pytest.fixture
def archive(held: list[HeldInstance]) -> ListingArchive:
    return ListingArchive(held)


def promise(ledger: Ledger, count: int | None) -> None:
    with ledger.write() as connection:
        connection.execute(update(schema.study).values(number_of_instances=count))


def policy(layout: str) -> TransferPolicy:
    return TransferPolicy.model_validate({"studies_per_shard": 100, "layout": layout})


@LAYOUTS
def test_when_the_count_is_met_nothing_is_listed_and_the_copy_is_the_same(
    archive: ListingArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    promise(ledger, INSTANCES)
    transfer(archive, store, ledger, wave, policy=policy(layout))
    assert archive.listed == []
    counted = fingerprint(ledger, store)
    promise(ledger, None)
    with ledger.write() as connection:
        connection.execute(update(schema.study).values(state="cleansed"))
    transfer(archive, store, ledger, wave, policy=policy(layout))
    assert archive.listed == [STUDY]
    assert fingerprint(ledger, store) == counted


@LAYOUTS
def test_an_instance_that_did_not_come_is_listed_and_asked_for_by_name(
    archive: ListingArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    """What came before the list is packed with what came after it."""
    promise(ledger, INSTANCES)
    late = archive.instances[1].record.sop_instance_uid
    forgetful = _SendsTheRestLater(archive.instances, late=late)
    transfer(forgetful, store, ledger, wave, policy=policy(layout))
    assert states(ledger) == {STUDY: "transferred"}
    rows = manifests(ledger, store)[STUDY]
    assert len(rows) == INSTANCES
    keys = {row.object_key for row in rows}
    assert len(keys) == (INSTANCES if layout == "instance" else 2)


@LAYOUTS
def test_a_study_that_grew_is_listed_and_taken_whole(
    archive: ListingArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    promise(ledger, INSTANCES - 1)
    transfer(archive, store, ledger, wave, policy=policy(layout))
    assert archive.listed == [STUDY]
    assert len(manifests(ledger, store)[STUDY]) == INSTANCES


@LAYOUTS
def test_twins_do_not_make_up_the_count(
    archive: ListingArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    """One instance twice and one not at all: as many deliveries as were promised."""
    promise(ledger, INSTANCES)
    gone = archive.instances[-1].record.sop_instance_uid
    doubled = replace(
        archive,
        instances=[*archive.instances, archive.instances[0]],
        undeliverable={gone: "source_failed"},
    )
    transfer(doubled, store, ledger, wave, policy=policy(layout))
    assert states(ledger) == {STUDY: "quarantined"}
    assert set(reasons(ledger)) == {"source_failed"}


@dataclass
class _SendsTheRestLater(ListingArchive):
    late: str = ""

    def retrieve_study(self, study_instance_uid: str, sink, expected=()):  # type: ignore[no-untyped-def]
        first = [held for held in self.instances if held.record.sop_instance_uid != self.late]
        return MemoryArchive(first).retrieve_study(study_instance_uid, sink, expected)


def test_the_ledgers_absence_sets_no_study_aside_even_on_the_last_try(
    store: S3Store, ledger: Ledger, wave: str, archive: ListingArchive
) -> None:
    def ledger_is_away(_held: HeldInstance) -> None:
        raise TransientError("The ledger is away.", reason=ReasonCode.LEDGER_UNAVAILABLE)

    with pytest.raises(TransientError, match=STUDY):
        transfer(
            replace(archive, before_delivery=ledger_is_away), store, ledger, wave, last_try=True
        )
    assert states(ledger) == {STUDY: "transferring"}
    assert in_order_of_transfer(ledger) == []
