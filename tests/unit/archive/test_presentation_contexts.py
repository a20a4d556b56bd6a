"""The contexts of a retrieval: never a choice of transfer syntaxes, never more than 128."""

from __future__ import annotations

import pytest
from pynetdicom.presentation import AllStoragePresentationContexts

from dicom_migration.archive.presentation_contexts import (
    MAX_CONTEXTS,
    batches,
    default_sop_classes,
    likely_sop_classes,
    storage_syntaxes,
)

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
SR, US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.3.1"
PRIVATE = "1.2.826.0.1.3680043.8.498.7"
JPEG_LOSSLESS, MPEG4 = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.102"


def test_a_context_never_offers_a_choice() -> None:
    assert all(len(syntaxes) == 1 for batch in batches([CT, SR, PRIVATE]) for _, syntaxes in batch)


def test_a_study_of_a_few_classes_needs_one_association() -> None:
    assert len(list(batches([CT, MR, SR, SR, PRIVATE]))) == 1


@pytest.mark.parametrize("reserved", [1, 5])
def test_every_class_is_offered_once_and_whole_within_the_limit(reserved: int) -> None:
    offered: list[str] = []
    for batch in batches(default_sop_classes(), reserved):
        assert len(batch) <= MAX_CONTEXTS - reserved
        classes = list(dict.fromkeys(uid for uid, _ in batch))
        for uid in classes:
            assert [s for u, (s,) in batch if u == uid] == list(storage_syntaxes(uid))
        offered += classes
    assert len(offered) == len(set(offered))
    assert {str(c.abstract_syntax) for c in AllStoragePresentationContexts} <= set(offered)


def test_a_class_is_offered_in_what_it_is_stored_in() -> None:
    assert JPEG_LOSSLESS in storage_syntaxes(CT)
    assert MPEG4 not in storage_syntaxes(CT)
    assert MPEG4 in storage_syntaxes(US_MULTIFRAME)
    assert JPEG_LOSSLESS not in storage_syntaxes(SR)
    assert MPEG4 in storage_syntaxes(PRIVATE)
    for uid in (CT, SR, US_MULTIFRAME, PRIVATE):
        assert len(set(storage_syntaxes(uid))) == len(storage_syntaxes(uid))


def test_the_modalities_of_a_study_come_first() -> None:
    assert next(iter(likely_sop_classes(["SR"]))).startswith("1.2.840.10008.5.1.4.1.1.88")
    assert set(likely_sop_classes(["MR", "unheard of"])) == set(default_sop_classes())


def test_malformed_classes_are_not_proposed() -> None:
    assert list(batches(["", "not a uid", "1." * 40])) == []
