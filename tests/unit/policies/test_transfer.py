import pytest
from pydantic import ValidationError

from dicom_migration.policies.transfer import Recompression, load_transfer_policy


def test_recompression_is_off_in_the_policy_that_ships() -> None:
    assert load_transfer_policy().recompression == Recompression()
    assert Recompression().target == "none"


@pytest.mark.parametrize(
    "fault",
    [{"target": "jpeg"}, {"minimum_saving_percent": 100}, {"minimum_kib": -1}, {"quality": 90}],
)
def test_a_policy_that_means_nothing_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recompression.model_validate(fault)
