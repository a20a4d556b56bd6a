"""A set of UIDs has one hash, whatever their order and however often each is named."""

import hashlib

from dicom_migration.uids import uid_set_sha256


def test_order_and_repetition_do_not_show() -> None:
    assert uid_set_sha256(["1.2", "1.10", "1.2"]) == uid_set_sha256({"1.10", "1.2"})


def test_the_hash_can_be_made_with_any_tool() -> None:
    """As `printf '1.10\\n1.2' | sha256sum` prints it."""
    assert uid_set_sha256(["1.2", "1.10"]) == hashlib.sha256(b"1.10\n1.2").hexdigest()


def test_equal_numbers_of_other_uids_differ_and_so_do_uids_that_run_together() -> None:
    assert uid_set_sha256(["1.2", "1.3"]) != uid_set_sha256(["1.2", "1.4"])
    assert uid_set_sha256(["1.2", "1.3"]) != uid_set_sha256(["1.21.3"])
