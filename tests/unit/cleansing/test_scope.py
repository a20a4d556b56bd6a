import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicom_migration.archive import InstanceRecord
from dicom_migration.cleansing.choosing import chosen_instances
from dicom_migration.cleansing.headers import StudyHeaders, read_study
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies.cleansing import CleansingPolicy, load_cleansing_policy
from tests.archives import HeldInstance, MemoryArchive, held_from, real_file

STUDY = "1.2.3"
INSTANCES = [
    InstanceRecord(STUDY, f"1.2.3.{series}", f"1.2.3.{series}.{number}")
    for series in range(5)
    for number in range(200)
]
#: What metadata cannot tell.
UNTOLD = {"specific_character_set", "transfer_syntax_uid", "pixel_bytes"}


def chosen(**policy: Any) -> list[str]:
    found = chosen_instances(INSTANCES, CleansingPolicy(**policy))
    return [item.sop_instance_uid for item in found]


@dataclass
class WebArchive(MemoryArchive):
    """Tells metadata, and counts what is retrieved all the same."""

    retrieved: list[str] = field(default_factory=list)
    changed: dict[str, Any] = field(default_factory=dict)
    refusal: PermanentError | None = None

    def __post_init__(self) -> None:
        self.before_delivery = lambda held: self.retrieved.append(held.record.sop_instance_uid)

    def study_metadata(self, study_instance_uid: str) -> list[dict[str, Any]]:
        if self.refusal:
            raise self.refusal
        return [
            {**_metadata(held), **self.changed}
            for held in self.instances
            if held.record.study_instance_uid == study_instance_uid
        ]


def _metadata(held: HeldInstance) -> dict[str, Any]:
    dataset = dcmread(
        BytesIO(real_file(_NAMES[held.record.sop_instance_uid])), stop_before_pixels=True
    )
    told: dict[str, Any] = json.loads(dataset.to_json(suppress_invalid_tags=True))
    return told


_NAMES: dict[str, str] = {}


def web(name: str, **settings: Any) -> tuple[WebArchive, str]:
    held = held_from(real_file(name))
    _NAMES[held.record.sop_instance_uid] = name
    return WebArchive([held], **settings), held.record.study_instance_uid


def read(archive: MemoryArchive, uid: str, use_metadata: Any = "auto") -> StudyHeaders:
    return read_study(archive, uid, CleansingPolicy(use_metadata=use_metadata))


def by_series(uids: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for uid in uids:
        series = uid.rpartition(".")[0]
        counts[series] = counts.get(series, 0) + 1
    return counts


def test_a_sample_is_the_same_every_time_and_about_as_large_as_said() -> None:
    first = chosen(headers="sample", sample_fraction=0.2)
    assert first == chosen(headers="sample", sample_fraction=0.2)
    assert 140 < len(first) < 260
    assert set(first) < set(chosen(headers="sample", sample_fraction=0.4))
    assert first != chosen(headers="sample", sample_fraction=0.2, sample_seed=2)


def test_every_series_has_at_least_one_header() -> None:
    assert by_series(chosen(headers="sample", sample_fraction=1e-9)) == {
        f"1.2.3.{series}": 1 for series in range(5)
    }
    assert len(chosen(headers="first_of_series")) == 5
    assert len(chosen(headers="all")) == len(INSTANCES)
    assert len(chosen(headers="sample", sample_fraction=1)) == len(INSTANCES)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm"])
def test_metadata_says_what_the_file_says_and_nothing_is_retrieved(name: str) -> None:
    archive, uid = web(name)
    (told,) = read(archive, uid).facts
    assert archive.retrieved == []
    (retrieved,) = read(archive, uid, use_metadata=False).facts
    assert len(archive.retrieved) == 1
    same = set(retrieved) - UNTOLD
    assert {key: told[key] for key in same} == {key: retrieved[key] for key in same}


def test_a_study_whose_text_is_not_ascii_is_retrieved_for_its_encoding() -> None:
    archive, uid = web("CT_small.dcm")
    for name in ("Müller^Änne", "M?ller^Anne"):
        archive.changed = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]}}
        archive.retrieved.clear()
        read(archive, uid)
        assert len(archive.retrieved) == 1
    (told,) = read(archive, uid, use_metadata=True).facts
    assert told["text_encoding"] is None
    assert len(archive.retrieved) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"0020000E": {"vr": "UI", "Value": ["9.9"]}},
        {"00080018": {"vr": "UI", "Value": ["9.9"]}},
        {"00080018": "nonsense"},
    ],
)
def test_metadata_of_something_else_is_not_believed(changed: dict[str, Any]) -> None:
    archive, uid = web("CT_small.dcm", changed=changed)
    read(archive, uid)
    assert len(archive.retrieved) == 1


def test_absurd_values_read_as_missing() -> None:
    absurd = {
        "00280010": {"vr": "US", "Value": ["many"]},
        "00280011": {"vr": "US", "Value": [1e400]},
        "00100020": {"vr": "LO", "Value": {"a": 1}},
        "00080060": {"vr": "CS"},
    }
    archive, uid = web("CT_small.dcm", changed=absurd)
    (told,) = read(archive, uid).facts
    assert [told[key] for key in ("rows", "columns", "patient_id", "modality")] == [None] * 4


def test_a_source_that_has_no_metadata_is_retrieved_from_or_refused_by_policy() -> None:
    plain = MemoryArchive([held_from(real_file("CT_small.dcm"))])
    uid = plain.instances[0].record.study_instance_uid
    assert len(read(plain, uid).facts) == 1
    refused = read_or_error(plain, uid)
    assert refused is ReasonCode.POLICY_INVALID
    broken = PermanentError("no", reason=ReasonCode.SOURCE_ANSWER_INVALID, next_step="-")
    archive, uid = web("CT_small.dcm", refusal=broken)
    assert len(read(archive, uid).facts) == 1
    assert len(archive.retrieved) == 1
    assert read(archive, uid, use_metadata=True).refused_for is broken.reason


def read_or_error(archive: MemoryArchive, uid: str) -> ReasonCode | None:
    try:
        return read(archive, uid, use_metadata=True).refused_for
    except PermanentError as error:
        return error.reason


def test_the_shipped_policy_is_understood(tmp_path: Path) -> None:
    assert load_cleansing_policy().use_metadata == "auto"
    path = tmp_path / "cleansing.yaml"
    path.write_text("headers: sample\nsample_fraction: 0\n")
    with pytest.raises(PermanentError, match="sample_fraction"):
        load_cleansing_policy(path)
