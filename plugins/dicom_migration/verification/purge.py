"""The purge gate: which studies an administrator may delete at the source. Nothing is deleted here.

A study passes with two independent proofs (every object was read back, and a second copy holds
the same bytes), a retention rule that matches today, no open exception, and an unchanged source.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, Ledger, StudyState, schema
from dicom_migration.ledger.events import canonical_json
from dicom_migration.manifest import ManifestRow
from dicom_migration.verification.claims import StudyClaim
from dicom_migration.verification.findings import Outcome
from dicom_migration.verification.manifests import manifest_rows

_STUDY, _VERDICT = schema.study.c, schema.verification.c
PURGE_CHAIN = EventChain("purge")
APPROVED_EVENT, REJECTED_EVENT = "purge.approved", "purge.rejected"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study that passed every gate."""

    study_instance_uid: str
    retention_rule: str
    instances: int
    manifest_sha256: str


@dataclass(slots=True)
class PurgeProposal:
    """What a person is asked to approve; `withheld` counts studies by what kept them off."""

    candidates: list[Candidate] = field(default_factory=list)
    withheld: Counter[str] = field(default_factory=Counter)

    def body(self) -> dict[str, Any]:
        """Return the list as it is signed: JSON-able, no PHI."""
        return {
            "format": "dicom-migration-purge-list/1",
            "proofs": ["read-back of every object", "second copy with the same SHA-256"],
            "studies": [asdict(candidate) for candidate in self.candidates],
            "withheld": dict(sorted(self.withheld.items())),
        }

    @property
    def sha256(self) -> str:
        """Return the hash that an approval is bound to."""
        return hashlib.sha256(canonical_json(self.body()).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Known:
    claim: StudyClaim
    rule: str
    refusal: str


def propose_purge(
    archive: ImageArchive,
    store: CloudStore,
    second: CloudStore | None,
    ledger: Ledger,
    rule: ColumnElement[str],
    limit: int,
) -> PurgeProposal:
    """Judge the studies that a retention rule would let go, by UID, at most `limit` candidates.

    Parameters
    ----------
    second
        The second copy; None when there is none, and then no study passes.
    rule
        Name of the retention rule that matches a study today, "" for none or when it is held.

    Raises
    ------
    TransientError
        A source or store did not answer: nothing is proposed.
    """
    with ledger.read() as connection:
        known = _known(connection, rule)
    proposal = PurgeProposal()
    for one in known:
        if len(proposal.candidates) >= limit:
            proposal.withheld["beyond the limit of one list"] += 1
            continue
        refusal = one.refusal or _refusal(archive, store, second, one.claim)
        if refusal:
            proposal.withheld[refusal] += 1
            continue
        claim = one.claim
        proposal.candidates.append(
            Candidate(
                claim.study_instance_uid, one.rule, claim.stored_instances, claim.manifest_sha256
            )
        )
    return proposal


def approve_purge(
    ledger: Ledger, proposal: PurgeProposal, shown_sha256: str, approver: str, now: datetime
) -> dict[str, Any]:
    """Record the approval and return the document to be signed, ``{"purge_list": body}``.

    Raises
    ------
    PermanentError
        With reason ``approval_missing`` when nobody is named, or when the studies that pass by
        now are not those that were shown.
    """
    if not approver.strip() or proposal.sha256 != shown_sha256:
        why = "what passes the gate now is not what was shown" if approver else "nobody is named"
        raise PermanentError(
            f"The purge list is not approved: {why}.",
            reason=ReasonCode.APPROVAL_MISSING,
            next_step="Trigger the DAG purge_candidates again and approve the list it shows.",
        )
    body = {
        **proposal.body(),
        "approved_by": approver,
        "signed_at": now.isoformat(timespec="seconds"),
        "content_sha256": shown_sha256,
    }
    record_answer(ledger, APPROVED_EVENT, {"by": approver, "content_sha256": shown_sha256})
    return {"purge_list": body}


def record_answer(ledger: Ledger, kind: str, payload: dict[str, object]) -> None:
    """Write an answer into the ledger once."""
    with ledger.write() as connection:
        if not PURGE_CHAIN.holds(connection, kind, payload):
            PURGE_CHAIN.append(connection, [(kind, "", payload)])


def _known(connection: Connection, rule: ColumnElement[str]) -> list[_Known]:
    """Return the studies that today's retention policy lets go, with what the ledger objects to."""
    latest = (
        select(_VERDICT.study_instance_uid, func.max(_VERDICT.verification_id).label("last"))
        .group_by(_VERDICT.study_instance_uid)
        .subquery()
    )
    has_exception = (
        select(schema.exception.c.exception_id)
        .where(
            schema.exception.c.study_instance_uid == _STUDY.study_instance_uid,
            schema.exception.c.status == "open",
        )
        .exists()
    )
    columns = [_STUDY[name] for name in StudyClaim.__dataclass_fields__]
    rows = connection.execute(
        select(
            *columns,
            rule.label("rule"),
            _STUDY.state,
            _STUDY.vanished_at,
            has_exception.label("has_exception"),
            _VERDICT.method,
            _VERDICT.outcome,
            _VERDICT.objects_read,
        )
        .outerjoin(latest, latest.c.study_instance_uid == _STUDY.study_instance_uid)
        .outerjoin(schema.verification, _VERDICT.verification_id == latest.c.last)
        .where(rule != "")
        .order_by(_STUDY.study_instance_uid)
    )
    known = []
    for row in rows:
        facts = row._asdict()
        claim = StudyClaim(**{name: facts[name] for name in StudyClaim.__dataclass_fields__})
        known.append(_Known(claim, row.rule, _objection(facts)))
    return known


def _objection(facts: dict[str, Any]) -> str:
    if facts["state"] != StudyState.VERIFIED.value:
        return "not verified"
    if facts["has_exception"]:
        return "an exception is open"
    if facts["vanished_at"] is not None:
        return "the source changed"
    read = facts["objects_read"] or 0
    if facts["outcome"] != Outcome.VERIFIED.value or read < max(1, facts["stored_instances"]):
        return "not every object was read back"
    return ""


def _refusal(
    archive: ImageArchive, store: CloudStore, second: CloudStore | None, claim: StudyClaim
) -> str:
    """Ask source and second copy now; return what they object to, "" when nothing."""
    if second is None:
        return "no second copy"
    try:
        rows = manifest_rows(store, claim)
    except PermanentError as error:
        if error.reason is not ReasonCode.MANIFEST_CORRUPT:
            raise
        return "the manifest changed"
    source = {r.sop_instance_uid for r in archive.find_instances(claim.study_instance_uid)}
    if source != {row.sop_instance_uid for row in rows}:
        return "the source changed"
    return "" if all(_is_held(second, row) for row in rows) else "the second copy differs"


def _is_held(second: CloudStore, row: ManifestRow) -> bool:
    """Tell whether the second copy holds the object of a row, by its checksum or its bytes."""
    expected = row.container_sha256 if row.packed else row.object_sha256
    head = second.head(row.object_key)
    if head is None:
        return False
    if head.sha256:
        return head.sha256 == expected
    digest = hashlib.sha256()
    for chunk in second.stream(row.object_key, 1 << 20):
        digest.update(chunk)
    return digest.hexdigest() == expected
