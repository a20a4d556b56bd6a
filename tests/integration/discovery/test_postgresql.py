"""What closes an inventory says the same in PostgreSQL's SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_migration.discovery.sizes import StudySize
from dicom_migration.ledger import Ledger, open_exception_counts
from dicom_migration.policies.discovery import SizeSample
from include.peers.postgres import Postgres
from tests.capped_archive import CappedArchive
from tests.conftest import require
from tests.unit.discovery.conftest import study
from tests.unit.discovery.test_closing import inventoried, told
from tests.unit.discovery.test_inventory import POLICY, take
from tests.unit.discovery.test_sampling import estimate, sizes_in, weighed

pytestmark = pytest.mark.peers


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    require(Postgres.available(), "postgresql")
    with Postgres(tmp_path) as server, Ledger(server.url) as opened:
        opened.upgrade()
        yield opened


def test_a_sample_estimates_studies_by_series_and_by_modality(ledger: Ledger) -> None:
    archive = weighed({"CT": [500, 520, 540], "MG": [9000, 9000]})
    archive.series = [s for s in archive.series if s.modality == "CT"]
    archive.studies.append(replace(study(9), modalities=("CT", "SR")))
    take(ledger, archive, POLICY.model_copy(update={"list_series": True}))
    estimate(ledger, archive, SizeSample(instances=3))
    found = sizes_in(ledger)
    assert found["1.2.1"] == StudySize(5200, "sampled", round(10 * 4.30 * 20 / 3**0.5))
    assert found["1.2.4"] == StudySize(90_000, "sampled", 0)
    assert found["1.2.9"].basis == "assumed"  # assumed reports weigh more than sampled slices


def test_a_rerun_tells_what_appeared_grew_and_vanished(ledger: Ledger) -> None:
    inventoried(ledger, CappedArchive([study(1), study(2)]), 1)
    now = CappedArchive([study(1, number_of_instances=11), study(3)])
    counts = inventoried(ledger, now, 2)
    assert (counts["new"], counts["grown"], counts["vanished"]) == (1, 1, 1)
    kinds = {uid: [kind for kind, _ in events] for uid, events in told(ledger).items()}
    assert kinds == {
        "1.2.1": ["study.grown"],
        "1.2.2": ["study.vanished", "study.quarantined"],
        "1.2.3": ["study.appeared"],
    }
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"study_vanished": 1}
