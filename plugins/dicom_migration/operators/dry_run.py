"""The operator that tries corrections on real instances before they are approved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicom_migration.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from dicom_migration.archive import InstanceIdentity
    from dicom_migration.cleansing.proposals import Correction

_MEMORY_BYTES = 64 * 1024 * 1024


class TryCorrectionsOperator(ConnectedOperator):
    """Retrieve a few instances of each rule and correct them as the transfer would; store nothing.

    :param proposal: result of
        :class:`~dicom_migration.operators.cleansing.ProposeCorrectionsOperator` (templated)
    :return: how many were tried and could not be corrected, and the text for the approval
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "proposal")

    def __init__(self, *, proposal: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal = proposal

    def execute(self, context: Context) -> dict[str, Any]:
        """Fail when a correction changes what it does not name."""
        from dicom_migration.cleansing.dry_run import dry_run
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.cleansing import load_cleansing_policy

        wave_id = str(self.proposal["wave_id"])
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as source,
        ):
            tried = dry_run(ledger, wave_id, source, load_cleansing_policy(), correct_as_transfer)
        self.log.info("%d instances tried, refused: %s", tried.instances, dict(tried.refused))
        return {
            "instances": tried.instances,
            "refused": sum(tried.refused.values()),
            "text": tried.text(),
        }


def correct_as_transfer(
    identity: InstanceIdentity, data: bytes, study: str, corrections: list[Correction]
) -> bytes:
    """Return the dataset as the transfer would store it with these corrections.

    Raises
    ------
    PermanentError
        As the transfer's :func:`~dicom_migration.transfer.instance_pass.examine`.
    """
    from dicom_migration.ledger import utc_now
    from dicom_migration.transfer.correcting import Correction as Approved
    from dicom_migration.transfer.instance_pass import PassSettings, examine
    from dicom_migration.transfer.part10 import part10_header
    from dicom_migration.transfer.spool import MemoryBudget, Spool

    approved = tuple(
        Approved(
            correction_id=c.correction_id,
            keyword=c.keyword,
            value=c.new_value,
            old_value=c.old_value,
            rule_id=c.rule_id,
            approved_at=utc_now(),
            series_instance_uid=c.series_instance_uid,
            sop_instance_uid=c.sop_instance_uid,
            expected_text_encoding=c.expected_text_encoding or "",
            text_charset=c.text_charset or "",
        )
        for c in corrections
    )
    budget = MemoryBudget(_MEMORY_BYTES)
    received = Spool(part10_header(identity), budget)
    try:
        received.write(data)
        received.seal()
        examined = examine(
            identity, received, PassSettings(study, "dry run", "STANDARD", approved), budget
        )
    except BaseException:
        received.close()
        raise
    stored = examined.stored
    try:
        return bytes(stored.contents()[stored.header_bytes :])
    finally:
        stored.close()
