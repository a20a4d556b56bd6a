from pathlib import Path

import pytest

from dicom_migration.errors import PermanentError
from dicom_migration.policies.throttle import ThrottlePolicy, load_throttle_policy


def test_the_policy_that_ships_is_the_default_and_limits_no_bytes() -> None:
    policy = load_throttle_policy()
    assert policy == ThrottlePolicy()
    assert policy.bytes_per_second is None
    assert policy.governor.enabled


def test_every_field_may_be_left_out(tmp_path: Path) -> None:
    file = tmp_path / "throttle.yaml"
    file.write_text("governor:\n  enabled: false\n")
    assert not load_throttle_policy(file).governor.enabled


@pytest.mark.parametrize(
    "wrong",
    ["bytes_per_second: 0", "max_associations: 0", "lease_seconds: 0", "max_asociations: 3"],
)
def test_what_would_stop_everything_is_refused(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "throttle.yaml"
    file.write_text(wrong + "\n")
    with pytest.raises(PermanentError, match=r"throttle\.yaml, line 1"):
        load_throttle_policy(file)
