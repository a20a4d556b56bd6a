from __future__ import annotations

import hashlib

import pytest

from dicom_migration.strata import stratified_sample
from dicom_migration.verification.audit.confidence import sample_size
from dicom_migration.verification.merkle import leaf_data, leaf_hash, merkle_root


@pytest.mark.parametrize(
    ("rate", "confidence", "population", "size"),
    [(0.05, 0.95, None, 59), (0.01, 0.95, None, 299), (0.01, 0.99, None, 459), (0.05, 0.95, 7, 7)],
)
def test_sample_sizes_are_the_textbook_ones(rate, confidence, population, size):
    assert sample_size(rate, confidence, population) == size


def test_a_sample_holds_every_stratum_and_depends_on_the_seed_alone():
    items = [("CT", n) for n in range(1000)] + [("MG", 1)] + [("US", n) for n in range(3)]
    first = stratified_sample(items, lambda item: item[0], 10, seed=1)
    assert {modality for modality, _ in first} == {"CT", "MG", "US"}
    assert len(first) == 10
    assert first == stratified_sample(items, lambda item: item[0], 10, seed=1)
    assert first != stratified_sample(items, lambda item: item[0], 10, seed=2)


def test_a_sample_larger_than_the_population_is_the_population():
    assert sorted(stratified_sample([1, 2, 3], lambda n: n % 2, 99, seed=0)) == [1, 2, 3]


def test_the_merkle_root_of_nothing_is_the_hash_of_nothing():
    assert merkle_root([]) == hashlib.sha256(b"").hexdigest()


def test_the_merkle_root_is_that_of_certificate_transparency():
    # The reference tree of RFC 6962 implementations (certificate-transparency, merkle tests).
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    inputs.append("606162636465666768696a6b6c6d6e6f")
    leaves = [leaf_hash(bytes.fromhex(text)) for text in inputs]
    assert merkle_root(leaves[:1]) == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert merkle_root(leaves[:3]) == (
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    )
    assert merkle_root(leaves) == (
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    )


def test_a_leaf_names_its_object():
    record = {
        "study_instance_uid": "1.2",
        "object_key": "studies/1.2/1.3/1.4.dcm",
        "offset": None,
        "object_bytes": 10,
        "object_sha256": "ab",
    }
    assert leaf_data(record) == b"1.2\tstudies/1.2/1.3/1.4.dcm\t0\t10\tab"
