"""The purge gate: which studies an administrator may delete at the source. Nothing is deleted here.

A study passes with two independent proofs (every object was read back, and either an audit
compared every instance with the source or a second copy holds the same bytes), a retention rule
that matches today, no open exception, and an unchanged source.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger
from dicom_migration.ledger.events import canonical_json, verify_chain
from dicom_migration.manifest import ManifestRow
from dicom_migration.verification.manifests import manifest_rows
from dicom_migration.verification.purge_claims import (
    SOURCE_CHANGED,
    PurgeClaim,
    Retention,
    claims_for_purge,
    count_objections,
    unobjected,
)
from dicom_migration.verification.sealed_events import audit_chain

AUDITED, COPIED = "audit of every instance", "second copy"
NO_SECOND_PROOF = "no second proof: not audited in full, and no second copy"
COPY_DIFFERS = "no second proof: not audited in full, and the second copy differs"
MANIFEST_CHANGED = "the manifest changed"
TRANSFERRED_AGAIN = "transferred again since it was shown"
BEYOND_LIMIT = "beyond the limit of one list"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study that passed every gate, and its proofs; `read_back_at` is ISO 8601 in UTC."""

    study_instance_uid: str
    wave_id: str
    retention_rule: str
    instances: int
    manifest_sha256: str
    read_back_at: str
    second_proof: str
    certificate_id: str


@dataclass(slots=True)
class PurgeProposal:
    """What a person is asked to approve; `withheld` counts studies by what kept them off."""

    candidates: list[Candidate] = field(default_factory=list)
    withheld: Counter[str] = field(default_factory=Counter)

    def body(self) -> dict[str, Any]:
        """Return the list as it is shown: JSON-able, no PHI."""
        return {
            "format": "dicom-migration-purge-list/1",
            "studies": [asdict(candidate) for candidate in self.candidates],
            "withheld": dict(sorted(self.withheld.items())),
        }

    @property
    def sha256(self) -> str:
        """Return the hash that an approval is bound to."""
        return hashlib.sha256(canonical_json(self.body()).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class PurgeGate:
    """The witnesses that are asked; `second` is None when there is no second copy."""

    archive: ImageArchive
    store: CloudStore
    second: CloudStore | None
    ledger: Ledger
    retention: Retention

    def propose(self, limit: int) -> PurgeProposal:
        """Judge the studies that a retention rule lets go, by UID, at most `limit` candidates.

        Raises
        ------
        TransientError
            A source or store did not answer: nothing is proposed.
        PermanentError
            ``ledger_tampered``: the chain with the audits that were relied on does not fit.
        """
        proposal = PurgeProposal()
        with self.ledger.read() as connection:
            proposal.withheld = count_objections(connection, self.retention)
        left = proposal.withheld.pop("", 0)
        for claim in self._unobjected():
            if len(proposal.candidates) >= limit:
                proposal.withheld[BEYOND_LIMIT] = left
                break
            left -= 1
            self._judge(claim, proposal)
        self._check_audits(proposal.candidates)
        return proposal

    def confirm(self, shown: Sequence[Candidate]) -> PurgeProposal:
        """Judge the studies that were shown once more; none is added, `withheld` is of them.

        Raises
        ------
        TransientError, PermanentError
            As for :meth:`propose`.
        """
        uids = [candidate.study_instance_uid for candidate in shown]
        with self.ledger.read() as connection:
            claims = claims_for_purge(connection, self.retention, uids)
        confirmed = PurgeProposal()
        for candidate in shown:
            claim = claims[candidate.study_instance_uid]
            if claim.objection:
                confirmed.withheld[claim.objection] += 1
            elif claim.study.manifest_sha256 != candidate.manifest_sha256:
                confirmed.withheld[TRANSFERRED_AGAIN] += 1
            else:
                self._judge(claim, confirmed)
        self._check_audits(confirmed.candidates)
        return confirmed

    def _unobjected(self) -> Iterator[PurgeClaim]:
        """Yield page by page; no transaction stays open while source and store answer."""
        after = ""
        while True:
            with self.ledger.read() as connection:
                page = unobjected(connection, self.retention, after)
            if not page:
                return
            yield from page
            after = page[-1].study.study_instance_uid

    def _judge(self, claim: PurgeClaim, proposal: PurgeProposal) -> None:
        """Ask source and second copy now; add the study to the candidates or to the withheld."""
        uid = claim.study.study_instance_uid
        try:
            rows = manifest_rows(self.store, claim.study)
        except PermanentError as error:
            if error.reason is not ReasonCode.MANIFEST_CORRUPT:
                raise
            proposal.withheld[MANIFEST_CHANGED] += 1
            return
        listed = {row.sop_instance_uid for row in rows}
        if {found.sop_instance_uid for found in self.archive.find_instances(uid)} != listed:
            proposal.withheld[SOURCE_CHANGED] += 1
            return
        proof, objection = self._second_proof(claim, rows)
        if objection:
            proposal.withheld[objection] += 1
            return
        proposal.candidates.append(
            Candidate(
                uid,
                claim.study.wave_id,
                claim.rule,
                claim.study.stored_instances,
                claim.study.manifest_sha256,
                claim.read_back_at.isoformat(timespec="seconds") if claim.read_back_at else "",
                proof,
                claim.certificate_id,
            )
        )

    def _second_proof(self, claim: PurgeClaim, rows: Sequence[ManifestRow]) -> tuple[str, str]:
        """Return the second proof and "", or "" and what is missing."""
        with_pixels = sum(row.pixel_bytes is not None for row in rows)
        if (
            claim.audit
            and claim.read_back_at
            and claim.audit.covers(len(rows), with_pixels, claim.read_back_at)
        ):
            return AUDITED, ""
        second = self.second
        if second is None:
            return "", NO_SECOND_PROOF
        return (COPIED, "") if all(_is_held(second, row) for row in rows) else ("", COPY_DIFFERS)

    def _check_audits(self, candidates: Sequence[Candidate]) -> None:
        """Recompute the chains of the audits that candidates rely on."""
        waves = {one.wave_id for one in candidates if one.second_proof == AUDITED}
        with self.ledger.read() as connection:
            for wave in sorted(waves):
                verify_chain(connection, audit_chain(wave).name)


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
