from pathlib import Path

from dicom_migration.errors import (
    MigrationError,
    PermanentError,
    ReasonCode,
    TransientError,
)

DOCS = Path(__file__).parents[2] / "docs" / "reason-codes.md"


def test_every_reason_code_is_documented_and_no_other() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(ReasonCode)


def test_a_message_says_what_on_which_study_and_what_to_do() -> None:
    error = TransientError(
        "The association broke.",
        reason=ReasonCode.SOURCE_FAILED,
        next_step="Look at the PACS.",
        study_instance_uid="1.2.3",
    )
    assert str(error) == (
        "[source_failed] The association broke. (study 1.2.3) Next step: Look at the PACS."
    )


def test_the_two_roots_are_apart() -> None:
    assert not issubclass(TransientError, PermanentError)
    assert not issubclass(PermanentError, TransientError)
    assert issubclass(PermanentError, MigrationError)
