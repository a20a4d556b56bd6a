"""The audit of a wave: a sample retrieved again, pixels and headers of both copies compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Any, Self

from sqlalchemy import Connection, insert

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.ledger import (
    EventChain,
    Ledger,
    StudyState,
    move_studies,
    note_exceptions,
    schema,
    utc_now,
)
from dicom_migration.policies import policy_hash
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.audit.allowed import approved_corrections
from dicom_migration.verification.audit.drawing import Frame, Stratum, allocate, sampling_frame
from dicom_migration.verification.audit.examining import Examined, examine
from dicom_migration.verification.audit.pixels import PixelOutcome
from dicom_migration.verification.audit.rendering import Gallery
from dicom_migration.verification.audit.telling import Audit, Round, render_audit
from dicom_migration.verification.claims import StudyClaim, studies_hash, verified_claims
from dicom_migration.verification.findings import Outcome, StudyVerdict, exception_notes
from dicom_migration.verification.refusals import Refusals
from dicom_migration.verification.sealed_events import (
    AUDIT_EVENT,
    STUDY_AUDITED_EVENT,
    audit_chain,
    last_event,
)
from dicom_migration.verification.verdicts import AUDIT_METHOD

#: Not that of verification: a study that is verified again does not close these exceptions.
AUDIT_PHASE = "pixel_audit"


@dataclass(slots=True)
class PixelAuditSummary:
    """Counts of instances.

    Drawn; with pixels compared equal, different, and not to be decoded as the source delivers
    them; no longer delivered by the source although it lists them; headers compared, and those
    with a difference that no approved correction explains. `population` could have been drawn, in
    so many `rounds`.
    """

    wanted: int = 0
    compared: int = 0
    different: int = 0
    undecodable: int = 0
    undelivered: int = 0
    headers_compared: int = 0
    headers_different: int = 0
    population: int = 0
    rounds: int = 0
    studies: list[StudyVerdict] = field(default_factory=list)

    @classmethod
    def from_event(cls, payload: dict[str, Any]) -> Self:
        """Return the counts that an earlier audit recorded."""
        names = {one.name for one in fields(cls)} - {"studies"}
        return cls(**{name: value for name, value in payload.items() if name in names})

    def as_dict(self) -> dict[str, int]:
        """Return the counts alone."""
        return {name: value for name, value in asdict(self).items() if name != "studies"}


def audit_pixels(
    archive: ImageArchive,
    store: CloudStore,
    ledger: Ledger,
    wave_id: str,
    policy: VerificationPolicy,
    *,
    today: date | None = None,
    publish: Callable[[str], str] | None = None,
) -> PixelAuditSummary:
    """Retrieve a sample of a wave again and compare every pixel and every attribute.

    A study with a difference becomes ``mismatched``, for a person to decide about. What cannot be
    decoded at the source is only reported: there is nothing to compare with. Objects that need a
    restore are left out.
    The same verified studies are not audited twice under the same policy, the earlier counts are
    returned; unless a difference was found among them, which another transfer of the same bytes
    does not undo.

    Parameters
    ----------
    today
        What the ages of studies are counted to (UTC).
    publish
        Keeps the report (HTML) and returns its address; called before anything is recorded, so
        that no recorded audit lacks its report.

    Raises
    ------
    TransientError
        Source or store did not answer.
    PermanentError
        One of them refuses us, or several studies in a row; nothing is recorded.
    """
    chain = audit_chain(wave_id)
    with ledger.read() as connection:
        claims = verified_claims(connection, wave_id)
        earlier = last_event(connection, chain, AUDIT_EVENT)
    seal = {"studies_sha256": studies_hash(claims), "policy_sha256": _hash_of(policy)}
    if _still_holds(earlier, seal):
        return PixelAuditSummary.from_event(earlier)
    audit = Audit(wave_id, Frame(), policy, Gallery(policy.audit_report))
    if policy.pixel_audit.enabled or policy.header_audit.enabled:
        _run(audit, archive, store, ledger, claims, today or utc_now().date())
    summary = _summary(audit)
    summary.studies = _verdicts(audit, claims)
    payload: dict[str, Any] = {
        **summary.as_dict(),
        **seal,
        "statements": audit.statements(),
        "draws": [[one.failures, one.drawn] for one in audit.rounds],
        "report": publish(render_audit(audit)) if publish else "",
    }
    with ledger.write() as connection:
        _record(connection, chain, audit, summary.studies, payload)
    return summary


def _hash_of(policy: VerificationPolicy) -> str:
    return policy_hash(
        VerificationPolicy(
            pixel_audit=policy.pixel_audit,
            header_audit=policy.header_audit,
            audit_report=policy.audit_report,
        )
    )


def _still_holds(earlier: dict[str, Any], seal: dict[str, str]) -> bool:
    same = all(earlier.get(name) == value for name, value in seal.items())
    return same and not earlier["different"] and not earlier["headers_different"]


def _run(
    audit: Audit,
    archive: ImageArchive,
    store: CloudStore,
    ledger: Ledger,
    claims: Sequence[StudyClaim],
    today: date,
) -> None:
    """Draw and compare, and draw more as long as what was found asks for it."""
    policy = audit.policy
    with ledger.read() as connection:
        approved = approved_corrections(connection, audit.wave_id)
        audit.frame = sampling_frame(store, connection, claims, policy.pixel_audit, today)
    taken: dict[Stratum, int] = {}
    while True:
        failures = sum(one.failed for one in audit.examined)
        drawn = _next_draw(audit, taken)
        if not drawn:
            return
        audit.rounds.append(Round(failures, len(drawn)))
        for stratum, place in drawn:
            claim, row = audit.frame.lines[stratum][place]
            corrections = approved.get(claim.study_instance_uid, ())
            found = examine(archive, store, row, stratum, policy, corrections)
            audit.gallery.consider(found)
            audit.examined.append(found)


def _next_draw(audit: Audit, taken: dict[Stratum, int]) -> list[tuple[Stratum, int]]:
    """Return strata and places in their lines, and note them as taken."""
    drawn: list[tuple[Stratum, int]] = []
    for pixels in (True, False):
        failures = sum(one.failed for one in audit.examined if one.stratum.pixels is pixels)
        wanted = allocate(audit.frame.part(pixels=pixels), audit.policy.pixel_audit, failures)
        for stratum, number in wanted.items():
            first, last = taken.get(stratum, 0), min(number, len(audit.frame.lines[stratum]))
            drawn += [(stratum, place) for place in range(first, last)]
            taken[stratum] = max(first, last)
    return drawn


def _summary(audit: Audit) -> PixelAuditSummary:
    outcomes = [one.pixels.outcome for one in audit.examined if one.pixels is not None]
    return PixelAuditSummary(
        wanted=len(audit.examined),
        compared=outcomes.count(PixelOutcome.EQUAL),
        different=outcomes.count(PixelOutcome.DIFFERENT),
        undecodable=outcomes.count(PixelOutcome.UNDECODABLE),
        undelivered=sum(not one.delivered for one in audit.examined),
        headers_compared=sum(one.headers is not None for one in audit.examined),
        headers_different=sum(bool(one.headers) for one in audit.examined),
        population=sum(audit.frame.sizes.values()),
        rounds=len(audit.rounds),
    )


def _verdicts(audit: Audit, claims: Sequence[StudyClaim]) -> list[StudyVerdict]:
    """Return a verdict for each study of the sample, in order of their UIDs."""
    by_study: dict[str, list[Examined]] = {}
    for one in audit.examined:
        by_study.setdefault(one.row.study_instance_uid, []).append(one)
    refusals = Refusals()
    verdicts: list[StudyVerdict] = []
    for claim in claims:
        if claim.study_instance_uid in by_study:
            verdicts += refusals.admit(_verdict(claim, by_study[claim.study_instance_uid]))
    return [*verdicts, *refusals.rest()]


def _record(
    connection: Connection,
    chain: EventChain,
    audit: Audit,
    verdicts: Sequence[StudyVerdict],
    payload: dict[str, Any],
) -> None:
    """Write exceptions, failed studies, one event a study of the sample, and the sum."""
    for verdict in verdicts:
        notes = exception_notes(verdict, audit.policy.max_notes_per_study, AUDIT_PHASE)
        note_exceptions(connection, notes, chain)
        if verdict.outcome is Outcome.VERIFIED:
            continue
        connection.execute(
            insert(schema.verification).values(
                study_instance_uid=verdict.study_instance_uid,
                wave_id=audit.wave_id,
                verified_at=utc_now(),
                method=verdict.method,
                objects_read=verdict.objects_read,
                outcome=verdict.outcome.value,
                reason=verdict.reason,
            )
        )
        move_studies(
            connection,
            [verdict.study_instance_uid],
            StudyState.MISMATCHED,
            chain,
            payload={"reason": verdict.reason},
            verified_instances=0,
        )
    events = [
        (STUDY_AUDITED_EVENT, verdict.study_instance_uid, _of_study(audit, verdict))
        for verdict in verdicts
    ]
    chain.append(connection, [*events, (AUDIT_EVENT, "", payload)])


def _of_study(audit: Audit, verdict: StudyVerdict) -> dict[str, Any]:
    """Return what was compared of a study: the proof that a purge may ask for."""
    uid = verdict.study_instance_uid
    mine = [one for one in audit.examined if one.row.study_instance_uid == uid]
    return {
        "instances": verdict.manifest_instances,
        "audited": len(mine),
        "pixels_proved": sum(one.pixels_clean for one in mine),
        "headers_proved": sum(one.headers == () for one in mine),
        "outcome": verdict.outcome.value,
    }


def _verdict(claim: StudyClaim, examined: Sequence[Examined]) -> StudyVerdict:
    return StudyVerdict(
        study_instance_uid=claim.study_instance_uid,
        method=AUDIT_METHOD,
        source_instances=len(examined),
        received_instances=claim.received_instances,
        manifest_instances=claim.stored_instances,
        cloud_instances=len(examined),
        objects_read=len(examined),
        findings=tuple(finding for one in examined for finding in one.findings),
    )
