"""The completeness of the cloud copy: a wave's compacted manifests judged as one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import date

    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.verification import VerificationPolicy
    from dicom_migration.quality import QualityResult
    from dicom_migration.verification.compaction import Compaction
    from dicom_migration.verification.completeness import Comparison

#: Headers judged at once: what they take in memory is bounded, however large the wave is.
CHUNK = 50_000


def judge_manifests(
    store: CloudStore, ledger: Ledger, compaction: Compaction, policy: VerificationPolicy
) -> QualityResult:
    """Judge a wave's manifests as they lie in the cloud; keep the result and its exceptions.

    A failed critical expectation becomes one exception for each study concerned; the others are
    counted in the result, in the certificate and in the log.
    """
    from dicom_migration.errors import ReasonCode
    from dicom_migration.ledger import EventChain, ExceptionNote, note_exceptions
    from dicom_migration.manifest import compact
    from dicom_migration.quality import judge_frame, store_results
    from dicom_migration.verification.compaction import read_part
    from dicom_migration.verification.findings import PHASE

    table = compact([read_part(store, part.key) for part in compaction.parts])
    frame = table.drop_columns(["corrections"]).to_pandas()
    result = judge_frame(frame, policy.completeness_suite, keys=["study_instance_uid"])
    store_results(ledger, PHASE, compaction.wave_id, [result])
    notes = [
        ExceptionNote(
            reason=ReasonCode(finding.reason_code),
            phase=PHASE,
            study_instance_uid=uid,
            detail=f"{finding.title} ({finding.columns}): not met in the cloud copy.",
            suggested_fix=finding.suggested_fix,
            subject=finding.title[:128],
        )
        for finding in result.findings
        if finding.severity == "critical" and not finding.success
        for uid in sorted({key[0] for key in finding.keys})
    ]
    with ledger.write() as connection:
        chain = EventChain(f"wave:{compaction.wave_id}/verify-completeness")
        note_exceptions(connection, notes, chain)
    return result


def report_completeness(
    store: CloudStore, ledger: Ledger, compaction: Compaction
) -> dict[str, Any]:
    """Compare completeness with that before the cleansing, and publish the report.

    Returns
    -------
    dict
        Scores before and after (0 to 1), and how many studies became worse.
    """
    from dicom_migration.ledger import utc_now
    from dicom_migration.operators.reports import publish_report

    compared = compare_completeness(store, ledger, compaction, utc_now().date())
    publish_report(
        store,
        ledger,
        kind="completeness",
        subject=compaction.wave_id,
        body=compared.render(),
        suffix="html",
    )
    return compared.summary()


def compare_completeness(
    store: CloudStore, ledger: Ledger, compaction: Compaction, today: date
) -> Comparison:
    """Judge the headers of a wave by the suites of cleansing: at the source, and in the cloud.

    Both judgements stay in the ledger (phase ``completeness``). A study that met a critical
    expectation before and does not in the cloud becomes an exception.
    """
    from dataclasses import replace

    from dicom_migration.cleansing.facts import KEYS, facts_frame, read_facts
    from dicom_migration.ledger import EventChain, note_exceptions
    from dicom_migration.quality import judge_frame, store_results
    from dicom_migration.quality.suites import suite_names
    from dicom_migration.verification.compaction import fact_rows
    from dicom_migration.verification.completeness import compare_judgements

    suites = suite_names("header_")
    with ledger.read() as connection:
        before_rows = read_facts(connection, compaction.wave_id, states=("verified",))
    known = {tuple(row[key] for key in KEYS) for row in before_rows}
    after_rows, cloud = [], []
    for rows in fact_rows(store, compaction, CHUNK):
        after_rows += [dict(row) for row in rows if tuple(row[key] for key in KEYS) in known]
        frame = facts_frame(rows, today)
        cloud.append([judge_frame(frame, suite) for suite in suites])
    held = {tuple(row[key] for key in KEYS) for row in after_rows}
    before_rows = [row for row in before_rows if tuple(row[key] for key in KEYS) in held]
    frames = {"before": facts_frame(before_rows, today), "after": facts_frame(after_rows, today)}
    judged = {
        when: [judge_frame(frame, suite, KEYS) for suite in suites]
        for when, frame in frames.items()
    }
    for when, results in judged.items():
        named = [replace(result, suite=f"{result.suite}:{when}") for result in results]
        store_results(ledger, "completeness", compaction.wave_id, named)
    compared = compare_judgements(compaction.wave_id, judged["before"], judged["after"], cloud)
    with ledger.write() as connection:
        chain = EventChain(f"wave:{compaction.wave_id}/verify-completeness")
        note_exceptions(connection, compared.worsened, chain)
    return compared
