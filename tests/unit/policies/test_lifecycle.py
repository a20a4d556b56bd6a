"""Moves of the bucket's own lifecycle rules: none by default, and only those that S3 can make."""

from pathlib import Path

import pytest

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies.loading import load_policy
from dicom_migration.policies.verification import VerificationPolicy, load_verification_policy


def load(tmp_path: Path, text: str) -> VerificationPolicy:
    file = tmp_path / "verification.yaml"
    file.write_text(f"read_threads: 2\n{text}\n")
    return load_policy(VerificationPolicy, file)


def test_the_policy_that_ships_allows_none() -> None:
    assert load_verification_policy().lifecycle_transitions == {}
    assert VerificationPolicy().lifecycle_transitions == {}


def test_what_the_bucket_may_do_is_read(tmp_path: Path) -> None:
    text = "lifecycle_transitions: {STANDARD: [STANDARD_IA, INTELLIGENT_TIERING]}"
    assert load(tmp_path, text).lifecycle_transitions == {
        "STANDARD": ("STANDARD_IA", "INTELLIGENT_TIERING")
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{STANDARD: [STANDARD-IA]}", "'STANDARD-IA' is no storage class"),
        ("{COLD: [GLACIER]}", "'COLD' is no storage class"),
        ("{STANDARD: GLACIER}", "STANDARD wants a list"),
        ("{STANDARD: []}", "STANDARD names no class"),
        ("{STANDARD: [GLACIER, GLACIER]}", "STANDARD names a class twice"),
        ("{STANDARD: [STANDARD]}", "from STANDARD to STANDARD"),
        ("{DEEP_ARCHIVE: [STANDARD]}", "from DEEP_ARCHIVE to STANDARD"),
        ("{ONEZONE_IA: [GLACIER_IR]}", "from ONEZONE_IA to GLACIER_IR"),
        ("{STANDARD: [GLACIER, 7]}", "valid string"),
        ("[STANDARD]", "valid dictionary"),
    ],
)
def test_what_cannot_be_is_refused_with_line_and_reason(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        load(tmp_path, f"lifecycle_transitions: {text}")
    assert caught.value.reason is ReasonCode.POLICY_INVALID
    assert "verification.yaml, line 2, field lifecycle_transitions" in str(caught.value)
    assert told in str(caught.value)
