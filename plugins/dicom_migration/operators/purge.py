"""Operators of the purge gate: propose, have it approved, sign the list. Nothing is deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dicom_migration.operators.approval import StandingApprovalOperator, approver_of
from dicom_migration.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from dicom_migration.cloud import CloudStore
    from dicom_migration.errors import PermanentError
    from dicom_migration.ledger import Ledger
    from dicom_migration.verification.purge import PurgeGate, PurgeProposal
    from dicom_migration.verification.purge_claims import Retention

SECOND_COPY_CONN_ID = "cloud_second_copy"


class _PurgeOperator(ConnectedOperator):
    """What proposing and signing share.

    :param second_conn_id: connection of the bucket with the second copy (templated)
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "second_conn_id")

    def __init__(self, *, second_conn_id: str = SECOND_COPY_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.second_conn_id = second_conn_id

    @contextmanager
    def gate(self) -> Iterator[PurgeGate]:
        """Open source, target, second copy and ledger, with today's retention policy."""
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.verification.purge import PurgeGate

        with ExitStack() as opened:
            ledger = opened.enter_context(open_ledger(self.ledger_conn_id))
            archive = opened.enter_context(open_archive(self.source_conn_id))
            store = opened.enter_context(open_store(self.target_conn_id))
            second = None
            if _exists(self.second_conn_id):
                second = opened.enter_context(open_store(self.second_conn_id))
                if self._is_the_target(second, store):
                    raise _same_place(self.second_conn_id, self.target_conn_id)
            yield PurgeGate(archive, store, second, ledger, _retention(ledger))

    def _is_the_target(self, second: CloudStore, store: CloudStore) -> bool:
        # Buckets of one name at two endpoints are two places.
        same_name = second.uri("reports") == store.uri("reports")
        return same_name and _endpoint(self.second_conn_id) == _endpoint(self.target_conn_id)


class ProposePurgeOperator(_PurgeOperator):
    """Judge every study that the retention policy lets go; skipped when none passes.

    :param limit: studies of one list at most (templated)
    :return: ``{"content_sha256", "studies", "list_uri", "report_uri", "approval_text"}``
    """

    template_fields: Sequence[str] = (*_PurgeOperator.template_fields, "limit")

    def __init__(self, *, limit: Any = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish the list that is shown."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.ledger.events import canonical_json
        from dicom_migration.operators.reports import publish_report
        from dicom_migration.verification.purge_list import PROPOSAL_KIND, render_purge, told

        with self.gate() as gate:
            proposal = gate.propose(int(self.limit))
            withheld = f"Withheld: {told(proposal.withheld)}."
            self.log.info("%d candidates. %s", len(proposal.candidates), withheld)
            if not proposal.candidates:
                raise AirflowSkipException(f"No study passes the purge gate. {withheld}")
            files = {"json": canonical_json(proposal.body()), "html": render_purge(proposal)}
            uris = {
                suffix: publish_report(
                    gate.store,
                    gate.ledger,
                    kind=PROPOSAL_KIND,
                    subject="purge",
                    body=body,
                    suffix=suffix,
                )
                for suffix, body in files.items()
            }
        count = len(proposal.candidates)
        return {
            "content_sha256": proposal.sha256,
            "studies": count,
            "list_uri": uris["json"],
            "report_uri": uris["html"],
            "approval_text": f"{count} studies pass the purge gate (report: {uris['html']}, list: "
            f"{uris['json']}, SHA-256 {proposal.sha256}). {withheld} Approving deletes nothing: "
            "it signs the list for the administrator of the source.",
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
        from dicom_migration.verification.purge_list import REJECTED_EVENT, record_answer

        told: dict[str, object] = {
            "by": person,
            "answered_at": answered_at,
            "content_sha256": self.asked_about(),
        }
        with open_ledger(self.ledger_conn_id) as ledger:
            record_answer(ledger, REJECTED_EVENT, told)


class SignPurgeListOperator(_PurgeOperator):
    """Judge what was approved once more, leave out what fails now, and sign the rest.

    :param proposal: result of :class:`ProposePurgeOperator` (templated)
    :param response: result of the approval task (templated)
    :return: counts, and the addresses of the signed list, its CSV and its page
    """

    template_fields: Sequence[str] = (*_PurgeOperator.template_fields, "proposal", "response")

    def __init__(self, *, proposal: Any, response: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal = proposal
        self.response = response

    def execute(self, context: Context) -> dict[str, Any]:
        """Refuse without a signing key: an unsigned list authorises nobody."""
        from dicom_migration.ledger import utc_now
        from dicom_migration.verification.purge_list import (
            approve_purge,
            record_issue,
            shown_candidates,
            told,
        )
        from dicom_migration.verification.signing import signed

        key = _required_key()
        shown = str(self.proposal["content_sha256"])
        with self.gate() as gate:
            confirmed = gate.confirm(shown_candidates(gate.ledger, gate.store, shown))
            document = approve_purge(
                gate.ledger, confirmed, shown, approver_of(self.response, shown), utc_now()
            )
            document = signed(document, "purge_list", key)
            uris = _publish(gate, confirmed, document)
            record_issue(gate.ledger, document["purge_list"], uris["json"])
        self.log.info(
            "Signed list of %d studies: %s. Left out since the approval: %s.",
            len(confirmed.candidates),
            uris["json"],
            told(confirmed.withheld),
        )
        return {
            "studies": len(confirmed.candidates),
            "left_out": sum(confirmed.withheld.values()),
            "list_uri": uris["json"],
            "csv_uri": uris["csv"],
            "report_uri": uris["html"],
        }


def _publish(gate: PurgeGate, confirmed: PurgeProposal, document: dict[str, Any]) -> dict[str, str]:
    from dicom_migration.ledger.events import canonical_json
    from dicom_migration.operators.reports import publish_report
    from dicom_migration.verification.purge_list import as_csv, render_purge

    files: dict[str, str | bytes] = {
        "json": canonical_json(document),
        "csv": as_csv(confirmed.candidates),
        "html": render_purge(confirmed, document),
    }
    return {
        suffix: publish_report(
            gate.store, gate.ledger, kind="purge_list", subject="purge", body=body, suffix=suffix
        )
        for suffix, body in files.items()
    }


def _required_key() -> Ed25519PrivateKey:
    from dicom_migration.errors import PermanentError, ReasonCode
    from dicom_migration.hooks.signing import DEFAULT_CONN_ID, signing_key

    key = signing_key()
    if key is None:
        raise PermanentError(
            "The purge list cannot be signed: there is no signing key.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step=f"Create connection {DEFAULT_CONN_ID} (docs/certificate.md), then clear "
            "this task.",
        )
    return key


def _retention(ledger: Ledger) -> Retention:
    from dicom_migration.discovery.conditions import first_match, load_list
    from dicom_migration.discovery.retention import expired_branches, hold_list, is_held
    from dicom_migration.ledger import utc_now
    from dicom_migration.policies.retention import load_retention_policy
    from dicom_migration.verification.purge_claims import Retention

    policy = load_retention_policy()
    with ledger.write() as connection:
        for hold in policy.legal_holds:
            load_list(connection, hold_list(hold), hold.study_instance_uids)
    rule = first_match(expired_branches(policy, utc_now().date()), "")
    return Retention(rule, is_held(policy))


def _exists(conn_id: str) -> bool:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True


def _endpoint(conn_id: str) -> str:
    from airflow.sdk import BaseHook

    return str(BaseHook.get_connection(conn_id).extra_dejson.get("endpoint_url") or "")


def _same_place(second: str, target: str) -> PermanentError:
    from dicom_migration.errors import PermanentError, ReasonCode

    return PermanentError(
        f"Connections {second} and {target} name the same place: a copy of itself proves nothing.",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step=f"Let {second} name the bucket of the second copy, or delete it.",
    )
