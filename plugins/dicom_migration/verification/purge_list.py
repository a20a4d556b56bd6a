"""The purge list as a person approves it and an administrator gets it: JSON, CSV, HTML."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from dicom_migration.cloud import CloudStore
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, Ledger, schema
from dicom_migration.reporting import render_report
from dicom_migration.verification.purge import Candidate, PurgeProposal
from dicom_migration.verification.purge_claims import PAGE
from dicom_migration.verification.signing import key_id

PURGE_CHAIN = EventChain("purge")
APPROVED_EVENT, REJECTED_EVENT = "purge.approved", "purge.rejected"
ISSUED_EVENT, LISTED_EVENT = "purge.list_issued", "purge.study_listed"
PROPOSAL_KIND = "purge_proposal"
#: Studies that the page shows one by one; the CSV has them all.
SHOWN = 2000


def shown_candidates(ledger: Ledger, store: CloudStore, shown_sha256: str) -> list[Candidate]:
    """Return the studies of the proposal that a person was shown.

    Raises
    ------
    PermanentError
        With reason ``approval_missing`` when that proposal is not found as it was shown.
    """
    report = schema.report.c
    with ledger.read() as connection:
        key = connection.scalar(
            select(report.object_key).where(
                report.kind == PROPOSAL_KIND, report.sha256 == shown_sha256
            )
        )
    data = store.read(key) if key else b""
    if hashlib.sha256(data).hexdigest() != shown_sha256:
        raise _not_approved("the proposal that was shown is gone, or was changed since")
    return [Candidate(**study) for study in json.loads(data)["studies"]]


def approve_purge(
    ledger: Ledger, confirmed: PurgeProposal, shown_sha256: str, approver: str, now: datetime
) -> dict[str, Any]:
    """Record the approval and return the document to be signed, ``{"purge_list": body}``.

    Parameters
    ----------
    confirmed
        What is left by now of what was shown.

    Raises
    ------
    PermanentError
        With reason ``approval_missing`` when nobody is named or nothing is left.
    """
    if not approver.strip():
        raise _not_approved("nobody is named")
    record_answer(ledger, APPROVED_EVENT, {"by": approver, "content_sha256": shown_sha256})
    if not confirmed.candidates:
        raise _not_approved(f"none of its studies passes any more ({told(confirmed.withheld)})")
    body = confirmed.body()
    left_out = body.pop("withheld")
    return {
        "purge_list": {
            **body,
            "counts": {
                "studies": len(confirmed.candidates),
                "instances": sum(one.instances for one in confirmed.candidates),
            },
            "left_out_since_approval": left_out,
            "certificates": sorted({c.certificate_id for c in confirmed.candidates} - {""}),
            "csv_sha256": hashlib.sha256(as_csv(confirmed.candidates)).hexdigest(),
            "approved_by": approver,
            "content_sha256": shown_sha256,
            "signed_at": now.isoformat(timespec="seconds"),
        }
    }


def record_answer(ledger: Ledger, kind: str, payload: dict[str, object]) -> None:
    """Write an answer into the ledger once."""
    with ledger.write() as connection:
        if not PURGE_CHAIN.holds(connection, kind, payload):
            PURGE_CHAIN.append(connection, [(kind, "", payload)])


def record_issue(ledger: Ledger, body: dict[str, Any], list_uri: str) -> None:
    """Flag the studies of a signed list as purge candidates, with an event each."""
    candidates = [Candidate(**study) for study in body["studies"]]
    issued: dict[str, object] = {
        "by": body["approved_by"],
        "content_sha256": body["content_sha256"],
        "list": list_uri,
        **body["counts"],
        "left_out": sum(body["left_out_since_approval"].values()),
    }
    listed = [
        (
            LISTED_EVENT,
            one.study_instance_uid,
            {"content_sha256": body["content_sha256"], "manifest_sha256": one.manifest_sha256},
        )
        for one in candidates
    ]
    with ledger.write() as connection:
        _flag(connection, candidates)
        PURGE_CHAIN.append(connection, [(ISSUED_EVENT, "", issued), *listed])


def as_csv(candidates: Sequence[Candidate]) -> bytes:
    """Return the list for a spreadsheet: a row a study, with its reason and its proofs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [one.name for one in fields(Candidate)], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(asdict(candidate) for candidate in candidates)
    return text.getvalue().encode()


def render_purge(proposal: PurgeProposal, document: dict[str, Any] | None = None) -> str:
    """Return the page for the person who approves, or with `document` of the signed list."""
    return render_report(
        "purge_report.html.j2",
        candidates=proposal.candidates[:SHOWN],
        not_shown=max(0, len(proposal.candidates) - SHOWN),
        studies=len(proposal.candidates),
        instances=sum(one.instances for one in proposal.candidates),
        rules=Counter(one.retention_rule for one in proposal.candidates),
        proofs=Counter(one.second_proof for one in proposal.candidates),
        withheld=sorted(proposal.withheld.items()),
        sha256=proposal.sha256,
        signed=document["purge_list"] if document else None,
        key_id=key_id(document) if document else "",
    )


def told(withheld: Counter[str]) -> str:
    """Return counts by cause as one line."""
    return "; ".join(f"{why}: {count}" for why, count in sorted(withheld.items())) or "none"


def _flag(connection: Connection, candidates: Sequence[Candidate]) -> None:
    by_rule: dict[str, list[str]] = defaultdict(list)
    for one in candidates:
        by_rule[one.retention_rule].append(one.study_instance_uid)
    study = schema.study
    for rule, uids in by_rule.items():
        for start in range(0, len(uids), PAGE):
            connection.execute(
                update(study)
                .where(study.c.study_instance_uid.in_(uids[start : start + PAGE]))
                .values(purge_candidate=True, purge_rule=rule)
            )


def _not_approved(why: str) -> PermanentError:
    return PermanentError(
        f"The purge list is not approved: {why}.",
        reason=ReasonCode.APPROVAL_MISSING,
        next_step="Trigger the DAG purge_candidates again and approve the list it shows.",
    )
