from types import SimpleNamespace
from typing import Any

from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.notifications.alert import alert_text

TASK = SimpleNamespace(dag_id="transfer", task_id="transfer_shard", run_id="r1", try_number=2)


def context(error: BaseException) -> Any:
    return {"ti": TASK, "exception": error}


def test_our_error_is_told_with_its_next_step() -> None:
    subject, body = alert_text(
        context(TransientError("S3 is busy.", reason=ReasonCode.TARGET_BUSY, next_step="Wait."))
    )
    assert "transfer.transfer_shard" in subject
    assert "S3 is busy." in body
    assert "Next step: Wait." in body


def test_the_text_of_any_other_error_is_left_out() -> None:
    _, body = alert_text(context(ValueError("DOE^JANE is not a date")))
    assert "DOE" not in body
    assert "ValueError" in body
