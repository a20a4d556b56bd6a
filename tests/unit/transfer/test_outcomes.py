from pathlib import Path

from dicom_migration.transfer.outcomes import Outcome

PAGE = Path(__file__).parents[3] / "docs" / "recompression.md"


def test_every_outcome_is_explained_to_operators() -> None:
    page = PAGE.read_text()
    kinds = [outcome for outcome in Outcome if outcome is not Outcome.OFF]
    assert [outcome for outcome in kinds if f"`{outcome.value}`" not in page] == []
