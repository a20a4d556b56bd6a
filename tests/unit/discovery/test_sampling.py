"""Sizes rest on a few retrieved instances, and say how far that goes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from sqlalchemy import select

from dicom_migration.archive import (
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
)
from dicom_migration.discovery.sampling import half_width, sample_sizes
from dicom_migration.discovery.sizes import SizeModel, StudySize, read_sizes
from dicom_migration.discovery.sizing import apply_sizes
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.discovery import SizeEstimate, SizeSample
from tests.capped_archive import CappedArchive
from tests.unit.discovery.conftest import study
from tests.unit.discovery.test_inventory import POLICY, take

LISTED = POLICY.model_copy(update={"list_series": True})
ASSUMED = SizeEstimate(default=1000, by_modality={"CT": 2000})


class Weighed(CappedArchive):
    """Studies of one series with ten instances, whose bytes are counted when retrieved."""

    retrieved = 0

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        self.retrieved += 1
        return super().retrieve_instance(instance, sink)


def weighed(sizes: dict[str, list[int]]) -> Weighed:
    archive = Weighed()
    number = 0
    for modality, weights in sizes.items():
        for weight in weights:
            number += 1
            uid, series = f"1.2.{number}", f"1.2.{number}.1"
            archive.studies.append(replace(study(number), modalities=(modality,)))
            archive.series.append(
                SeriesRecord(uid, series, modality=modality, number_of_instances=10)
            )
            for item in range(10):
                instance = f"{series}.{item}"
                archive.instances.append(InstanceRecord(uid, series, instance, "1.2.840"))
                archive.datasets[instance] = bytes(weight)
    return archive


def sizes_in(ledger: Ledger) -> dict[str, StudySize]:
    table = schema.study.c
    with ledger.read() as connection:
        rows = connection.execute(select(schema.study).order_by(table.study_instance_uid))
        return {
            row.study_instance_uid: StudySize(row.bytes_estimated, row.bytes_basis, row.bytes_error)
            for row in rows
        }


def estimate(ledger: Ledger, archive: CappedArchive, policy: SizeSample) -> SizeModel:
    sample_sizes(ledger, archive, policy)
    model = read_sizes(ledger, archive.name, ASSUMED)
    apply_sizes(ledger, archive.name, model)
    return model


@pytest.mark.parametrize("listed", [True, False])
def test_studies_are_estimated_from_instances_of_their_modality(
    ledger: Ledger, listed: bool
) -> None:
    archive = weighed({"CT": [500, 520, 540], "MG": [9000, 9000]})
    take(ledger, archive, LISTED if listed else POLICY)
    assert {size.basis for size in sizes_in(ledger).values()} == {"assumed"}
    estimate(ledger, archive, SizeSample(instances=3))
    found = sizes_in(ledger)
    assert found["1.2.4"] == StudySize(90_000, "sampled", 0)
    assert (found["1.2.1"].total, found["1.2.1"].basis) == (5200, "sampled")
    assert found["1.2.1"].error == round(10 * 4.30 * 20 / 3**0.5)


def test_the_interval_holds_the_truth_about_as_often_as_it_says(ledger: Ledger) -> None:
    drawn = random.Random(4)
    population = [round(drawn.lognormvariate(10, 0.3)) for _ in range(20_000)]
    truth = sum(population) / len(population)
    held = 0
    for _ in range(400):
        sample = drawn.sample(population, 20)
        held += abs(sum(sample) / 20 - truth) <= half_width(sample)
    assert 0.90 <= held / 400 <= 0.99


def test_one_instance_proves_nothing() -> None:
    assert half_width([500]) == 500


def test_the_sample_is_bounded_and_not_taken_twice(ledger: Ledger) -> None:
    archive = weighed({"CT": [500] * 40, "US": [700]})
    take(ledger, archive, LISTED)
    outcome = sample_sizes(ledger, archive, SizeSample(instances=4))
    assert outcome.summary() == {"modalities": 2, "instances": 5, "bytes": 2700, "failed": 0}
    before = archive.retrieved
    assert sample_sizes(ledger, archive, SizeSample(instances=4)).sizes == {}
    assert archive.retrieved == before


def test_the_sample_ends_at_its_bytes(ledger: Ledger) -> None:
    archive = weighed({"CT": [600_000] * 10})
    take(ledger, archive, LISTED)
    outcome = sample_sizes(ledger, archive, SizeSample(instances=10, max_mib=1))
    assert len(outcome.sizes["CT"]) == 2


def test_a_modality_that_was_not_sampled_stays_assumed(ledger: Ledger) -> None:
    archive = weighed({"CT": [500, 500], "XX": [700]})
    take(ledger, archive, LISTED)
    archive.datasets = {uid: data for uid, data in archive.datasets.items() if "1.2.3." not in uid}
    estimate(ledger, archive, SizeSample(instances=5))
    assert sizes_in(ledger)["1.2.3"] == StudySize(10_000, "assumed", None)
    assert sizes_in(ledger)["1.2.1"].basis == "sampled"


def test_what_the_source_tells_is_not_estimated(ledger: Ledger) -> None:
    archive = weighed({"CT": [500, 500]})
    archive.studies[0] = replace(archive.studies[0], total_bytes=12_345)
    take(ledger, archive, LISTED)
    estimate(ledger, archive, SizeSample(instances=5))
    assert sizes_in(ledger)["1.2.1"] == StudySize(12_345, "told", None)


def test_a_sample_makes_no_study_a_changed_one(ledger: Ledger) -> None:
    archive = weighed({"CT": [500, 510]})
    take(ledger, archive, LISTED)
    estimate(ledger, archive, SizeSample(instances=5))
    before = sizes_in(ledger)
    assert take(ledger, archive, LISTED, inventory="I0000000002").changed == 0
    archive.studies[0] = replace(archive.studies[0], study_description="corrected")
    take(ledger, archive, LISTED, inventory="I0000000003")
    assert sizes_in(ledger) == before


def test_a_copied_study_keeps_the_estimate_it_was_planned_with(ledger: Ledger) -> None:
    archive = weighed({"CT": [500, 500]})
    take(ledger, archive, LISTED)
    with ledger.write() as connection:
        connection.execute(schema.study.update().values(state="verified"))
    before = sizes_in(ledger)
    estimate(ledger, archive, SizeSample(instances=5))
    assert sizes_in(ledger) == before


class Refusing(Weighed):
    error: PermanentError | TransientError = PermanentError(
        "no C-GET", reason=ReasonCode.SOURCE_REFUSED_OPERATION
    )

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        self.retrieved += 1
        raise self.error


def test_a_source_that_delivers_nothing_ends_the_sample_and_not_the_inventory(
    ledger: Ledger,
) -> None:
    full = weighed({"CT": [500] * 30})
    archive = Refusing(full.studies, full.series, full.instances)
    take(ledger, archive, LISTED)
    outcome = sample_sizes(ledger, archive, SizeSample())
    assert (outcome.failed, archive.retrieved) == (5, 5)
    assert {size.basis for size in sizes_in(ledger).values()} == {"assumed"}
