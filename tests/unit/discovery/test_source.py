"""A source that is not configured as it was is an exception, with what changed."""

from __future__ import annotations

from datetime import date

from sqlalchemy import select

from dicom_migration.archive import ArchiveCheck
from dicom_migration.discovery.source import check_source
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from tests.capped_archive import CappedArchive

CONFIGURED = {"software": "1.0", "max_pdu_bytes": "16384"}


def test_the_first_check_has_nothing_to_compare_with(ledger: Ledger) -> None:
    check = check_source(ledger, CappedArchive(facts=CONFIGURED))
    assert (check.changed, check.changes) == (False, ())
    again = check_source(ledger, CappedArchive(facts=CONFIGURED))
    assert again.fingerprint == check.fingerprint


def test_drift_is_told_by_name_and_becomes_an_exception(ledger: Ledger) -> None:
    check_source(ledger, CappedArchive(facts=CONFIGURED))
    check = check_source(ledger, CappedArchive(facts={**CONFIGURED, "max_pdu_bytes": "32768"}))
    assert check.changes == ("max_pdu_bytes: 16384 -> 32768",)
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"source_reconfigured": 1}
        kinds = connection.scalars(select(schema.event.c.kind)).all()
    assert "source.reconfigured" in kinds


def test_a_fact_that_only_one_check_asked_for_is_no_drift(ledger: Ledger) -> None:
    check_source(ledger, CappedArchive(facts=CONFIGURED))
    assert not check_source(ledger, CappedArchive(facts={**CONFIGURED, "tls": "no"})).changed


class Probed(CappedArchive):
    sets = "ISO_IR 100"

    def probe(self, associations: int, today: date) -> ArchiveCheck:
        return ArchiveCheck(
            "memory", 0.001, {"associations": str(associations)}, {"character_sets": self.sets}
        )


def test_contents_that_change_are_seen_and_are_no_drift(ledger: Ledger) -> None:
    archive = Probed()
    check_source(ledger, archive, 3)
    archive.sets = "ISO_IR 100, ISO_IR 192"
    check = check_source(ledger, archive, 3)
    assert not check.changed
    assert check.observed_changes == ("character_sets: ISO_IR 100 -> ISO_IR 100, ISO_IR 192",)
    with ledger.read() as connection:
        facts = connection.scalars(select(schema.source_fingerprint.c.facts)).all()
    assert facts == ['{"associations":"3"}'] * 2
