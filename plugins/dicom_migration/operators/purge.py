"""Operators of the purge gate: propose, have it approved, sign the list. Nothing is deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dicom_migration.operators.approval import StandingApprovalOperator, approver_of
from dicom_migration.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger
    from dicom_migration.verification.purge import PurgeProposal

SECOND_COPY_CONN_ID = "cloud_second_copy"


class _PurgeOperator(ConnectedOperator):
    """What proposing and signing share.

    :param second_conn_id: connection of the bucket with the second copy (templated)
    :param limit: studies of one list at most (templated)
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "second_conn_id", "limit")

    def __init__(
        self, *, second_conn_id: str = SECOND_COPY_CONN_ID, limit: Any = 1000, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.second_conn_id = second_conn_id
        self.limit = limit

    @contextmanager
    def judged(self) -> Iterator[tuple[PurgeProposal, CloudStore, Ledger]]:
        """Judge the studies now; yield the proposal with the open target and ledger."""
        from dicom_migration.discovery.conditions import first_match, load_list
        from dicom_migration.discovery.retention import hold_list, purge_branches
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.ledger import utc_now
        from dicom_migration.policies.retention import load_retention_policy
        from dicom_migration.verification.purge import propose_purge

        policy = load_retention_policy()
        rule = first_match(purge_branches(policy, utc_now().date()), "")
        with ExitStack() as opened:
            ledger = opened.enter_context(open_ledger(self.ledger_conn_id))
            archive = opened.enter_context(open_archive(self.source_conn_id))
            store = opened.enter_context(open_store(self.target_conn_id))
            second = (
                opened.enter_context(open_store(self.second_conn_id))
                if _exists(self.second_conn_id)
                else None
            )
            with ledger.write() as connection:
                for hold in policy.legal_holds:
                    load_list(connection, hold_list(hold), hold.study_instance_uids)
            yield (
                propose_purge(archive, store, second, ledger, rule, int(self.limit)),
                store,
                ledger,
            )


class ProposePurgeOperator(_PurgeOperator):
    """Judge every study that the retention policy lets go; skipped when none passes.

    :return: ``{"content_sha256", "studies", "report_uri", "approval_text"}``
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish the list that is shown."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.ledger.events import canonical_json
        from dicom_migration.operators.reports import publish_report

        with self.judged() as (proposal, store, ledger):
            withheld = "; ".join(f"{why}: {n}" for why, n in sorted(proposal.withheld.items()))
            self.log.info("%d candidates. %s", len(proposal.candidates), withheld)
            if not proposal.candidates:
                raise AirflowSkipException(f"No study passes the purge gate. {withheld}")
            uri = publish_report(
                store,
                ledger,
                kind="purge_proposal",
                subject="purge",
                body=canonical_json(proposal.body()),
                suffix="json",
            )
        count = len(proposal.candidates)
        text = (
            f"{count} studies pass the purge gate (list: {uri}, SHA-256 {proposal.sha256}). "
            f"Withheld: {withheld or 'none'}. Approving deletes nothing: it signs the list for the "
            "administrator of the source."
        )
        return {
            "content_sha256": proposal.sha256,
            "studies": count,
            "report_uri": uri,
            "approval_text": text,
        }


class ApprovePurgeOperator(StandingApprovalOperator):
    """Ask a person to approve the purge list; never standing, always asked.

    :param proposal: result of :class:`ProposePurgeOperator` (templated)
    """

    template_fields: Collection[str] = (*StandingApprovalOperator.template_fields, "proposal")

    def __init__(self, *, proposal: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal = proposal

    def asked_about(self) -> str:
        """Return the hash of the list."""
        return str(self.proposal["content_sha256"])

    def record_rejection(self, person: str, answered_at: str) -> None:
        """Write the rejection into the ledger."""
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.verification.purge import REJECTED_EVENT, record_answer

        told: dict[str, object] = {
            "by": person,
            "answered_at": answered_at,
            "content_sha256": self.asked_about(),
        }
        with open_ledger(self.ledger_conn_id) as ledger:
            record_answer(ledger, REJECTED_EVENT, told)


class SignPurgeListOperator(_PurgeOperator):
    """Judge again, refuse when anything moved since it was shown, and sign the list.

    :param proposal: result of :class:`ProposePurgeOperator` (templated)
    :param response: result of the approval task (templated)
    :return: studies and address of the signed list
    """

    template_fields: Sequence[str] = (*_PurgeOperator.template_fields, "proposal", "response")

    def __init__(self, *, proposal: Any, response: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal = proposal
        self.response = response

    def execute(self, context: Context) -> dict[str, Any]:
        """Refuse without a signing key: an unsigned list authorises nobody."""
        from dicom_migration.errors import PermanentError, ReasonCode
        from dicom_migration.hooks.signing import DEFAULT_CONN_ID, signing_key
        from dicom_migration.ledger import utc_now
        from dicom_migration.ledger.events import canonical_json
        from dicom_migration.operators.reports import publish_report
        from dicom_migration.verification.purge import approve_purge
        from dicom_migration.verification.signing import signed

        key = signing_key()
        if key is None:
            raise PermanentError(
                "The purge list cannot be signed: there is no signing key.",
                reason=ReasonCode.CONFIGURATION_INVALID,
                next_step=f"Create connection {DEFAULT_CONN_ID} (docs/certificate.md), then clear "
                "this task.",
            )
        shown = str(self.proposal["content_sha256"])
        with self.judged() as (proposal, store, ledger):
            document = approve_purge(
                ledger, proposal, shown, approver_of(self.response, shown), utc_now()
            )
            uri = publish_report(
                store,
                ledger,
                kind="purge_list",
                subject="purge",
                body=canonical_json(signed(document, "purge_list", key)),
                suffix="json",
            )
        self.log.info("Signed list of %d studies: %s", len(proposal.candidates), uri)
        return {"studies": len(proposal.candidates), "report_uri": uri}


def _exists(conn_id: str) -> bool:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True
