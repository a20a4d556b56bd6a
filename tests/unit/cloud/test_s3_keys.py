"""Keys: only the plain ones pass, and a refusal never quotes the key."""

from __future__ import annotations

import pytest

from dicom_migration.cloud.s3_keys import KeyRoot, checked_listing_prefix
from dicom_migration.errors import PermanentError


@pytest.mark.parametrize(
    "key", ["1.2.3", "studies/1.2.840/instances.tar", ".migration-write-check", "wave=7/a_b-c@1"]
)
def test_plain_keys_are_put_below_the_prefix(key: str) -> None:
    root = KeyRoot("/site-a/archive/")
    assert root.full(key) == f"site-a/archive/{key}"
    assert root.relative(root.full(key)) == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/absolute",
        "trailing/",
        "a//b",
        "../other-site/1.2.3",
        "a/./b",
        "a/../b",
        "Müller^Jürgen",
        "studies/1.2.3\n",
        "a b",
        "a?versionId=1",
        "a%2Fb",
        "a\x00b",
        "a\\b",
        "x" * 1025,
    ],
)
def test_hostile_keys_are_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(PermanentError) as caught:
        KeyRoot().full(key)
    assert len(key) < 2 or key not in str(caught.value)
    assert "Next step" in str(caught.value)


def test_the_prefix_counts_towards_the_1024_bytes() -> None:
    assert len(KeyRoot("p" * 23).full("k" * 1000)) == 1024
    with pytest.raises(PermanentError, match="1024"):
        KeyRoot("p" * 24).full("k" * 1000)


def test_a_hostile_prefix_is_refused_when_the_store_is_built() -> None:
    with pytest.raises(PermanentError, match="prefix refused"):
        KeyRoot("../elsewhere")


def test_a_listing_prefix_may_be_empty_or_end_within_a_key() -> None:
    assert checked_listing_prefix("") == ""
    assert checked_listing_prefix("studies/1.2") == "studies/1.2"
    with pytest.raises(PermanentError):
        checked_listing_prefix("studies/é")
