from datetime import timedelta

from sqlalchemy import insert

from dicom_migration.ledger import Ledger, schema
from dicom_migration.pacing.probing import present_level
from tests.unit.pacing.conftest import Clock


def test_a_worker_whose_clock_was_ahead_has_not_the_last_word_for_ever(
    ledger: Ledger, clock: Clock
) -> None:
    def probe(days: int, level: int) -> dict[str, object]:
        at = clock.now + timedelta(days=days)
        return {
            "scope": "dimse:PACS",
            "probed_at": at,
            "outcome": "answered",
            "level": level,
            "decision": "hold",
        }

    with ledger.write() as connection:
        connection.execute(insert(schema.governor_probe), [probe(365, 8), probe(0, 2)])
    assert present_level(ledger, "dimse:PACS", 8, clock) == 2
