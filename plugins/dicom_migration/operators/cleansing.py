"""Operators of the cleansing DAG: choose, read, propose, sign, settle."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from dicom_migration.links.data_docs import DATA_DOCS_KEY, DataDocsLink
from dicom_migration.operators.approval import StandingApprovalOperator, approver_of
from dicom_migration.operators.connected import ConnectedOperator
from dicom_migration.operators.defaults import CLEANSED_WAVE
from dicom_migration.operators.lists import hash_of_lists, read_lists, reconciled
from dicom_migration.operators.preflight import for_a_person

if TYPE_CHECKING:
    from airflow.sdk import Context


class CleansingPreflightOperator(ConnectedOperator):
    """Check rules, suites and both ends, then choose the wave.

    Skipped when no wave is left to cleanse.

    :param wave_id: this wave; empty: the next planned one of an approved plan (templated)
    :return: ``{"wave_id", "plan_id", "studies"}``
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "wave_id")

    def __init__(self, *, wave_id: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wave_id = wave_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Fail at once when a file or an end will not do."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.cleansing.waves import choose_wave
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.cleansing import load_cleansing_policy

        load_cleansing_policy()
        _rules_and_suites()
        wanted = self.wave_id if self.wave_id not in ("", "None") else None
        with for_a_person(), open_ledger(self.ledger_conn_id) as ledger:
            wave = choose_wave(ledger, wanted)
            self.log.info("Entries of lists: %s", read_lists(ledger))
        if wave is None:
            raise AirflowSkipException("No wave of an approved plan is left to cleanse.")
        with for_a_person(), open_archive(self.source_conn_id) as source:
            check = source.check()
        with for_a_person(), open_store(self.target_conn_id) as store:
            store.check()
        self.log.info("Wave %s: %d studies; %s", wave.wave_id, wave.studies, check.description)
        return wave.summary()


class CutChunksOperator(ConnectedOperator):
    """Deal the studies of the wave out to tasks.

    :param wave: result of :class:`CleansingPreflightOperator` (templated)
    :return: ``[{"wave_id", "number", "size"}, …]``, never empty
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "wave")

    def __init__(self, *, wave: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wave = wave

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Cut by position in the wave, so that XCom carries no identifiers of studies."""
        from dataclasses import asdict

        from dicom_migration.cleansing.waves import cut_chunks
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.cleansing import load_cleansing_policy

        with open_ledger(self.ledger_conn_id) as ledger:
            chunks = cut_chunks(ledger, str(self.wave["wave_id"]), load_cleansing_policy())
        return [asdict(chunk) for chunk in chunks]


class CollectHeadersOperator(ConnectedOperator):
    """Read the headers of one chunk's studies into the ledger.

    :param chunk: one of :class:`CutChunksOperator`'s (templated)
    :return: counts of studies, headers and quarantined studies
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "chunk")

    def __init__(self, *, chunk: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk = chunk

    def execute(self, context: Context) -> dict[str, int]:
        """Quarantine what cannot be read; the rest goes on."""
        from dicom_migration.cleansing.collecting import collect_headers
        from dicom_migration.cleansing.waves import Chunk, studies_of_chunk
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.cleansing import load_cleansing_policy

        chunk, task = Chunk(**self.chunk), context["ti"]
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as source,
        ):
            studies = studies_of_chunk(ledger, chunk)
            counts = collect_headers(
                ledger,
                source,
                chunk.wave_id,
                studies,
                load_cleansing_policy(),
                first_try=task.try_number <= 1,
                last_try=task.try_number > task.max_tries,
            )
        self.log.info("%s", counts)
        return counts.summary()


class ProposeCorrectionsOperator(ConnectedOperator):
    """Apply the rules, judge before and after, publish the report that is approved.

    :param wave: result of :class:`CleansingPreflightOperator` (templated)
    :return: the wave, the hash of rules and suites, counts, the report's address, who approved
        the same rules before, and the text for the approval
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "wave")
    operator_extra_links = (DataDocsLink(),)

    def __init__(self, *, wave: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wave = wave

    def execute(self, context: Context) -> dict[str, Any]:
        """Propose; nothing is changed before somebody approves."""
        from dicom_migration.cleansing.approval import standing_approval
        from dicom_migration.cleansing.identity import note_identity_conflicts
        from dicom_migration.cleansing.proposals import propose_corrections
        from dicom_migration.cleansing.report import approval_text, report_wave
        from dicom_migration.cleansing.settlement import kept_back_of
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.operators.data_docs import publish_data_docs
        from dicom_migration.operators.reports import publish_report

        wave_id = str(self.wave["wave_id"])
        ruleset, suites, sha256 = _rules_and_suites()
        with open_ledger(self.ledger_conn_id) as ledger:
            found = propose_corrections(ledger, wave_id, ruleset, sha256)
            found = reconciled(ledger, wave_id, sha256, found)
            conflicts = note_identity_conflicts(ledger, wave_id)
            before, after = _judge_twice(self, ledger, wave_id, suites, str(context["run_id"]))
            html = report_wave(ledger, wave_id, ruleset, sha256, found, before, after)
            with open_store(self.target_conn_id) as store:
                uri = publish_report(
                    store, ledger, kind="cleansing", subject=wave_id, body=html, suffix="html"
                )
                docs = publish_data_docs(store, ledger, wave_id, before, after)
            approver = standing_approval(ledger, wave_id, sha256)
            with ledger.read() as connection:
                kept_back = len(kept_back_of(connection, wave_id, after.failing))
        summary: dict[str, Any] = {
            "wave_id": wave_id,
            "ruleset_sha256": sha256,
            "corrections": len(found),
            "kept_back": kept_back,
            "identity_conflicts": sum(conflicts.values()),
            "score_before": round(before.score, 4),
            "score_after": round(after.score, 4),
            "report_uri": uri,
            DATA_DOCS_KEY: docs,
            "approved_by": approver,
        }
        return {**summary, "approval_text": approval_text(summary)}


class ApproveCorrectionsOperator(StandingApprovalOperator):
    """Ask a person to approve the wave's corrections; a rejection goes on record with the name.

    :param proposal: result of :class:`ProposeCorrectionsOperator` (templated)
    """

    template_fields: Collection[str] = (*StandingApprovalOperator.template_fields, "proposal")

    def __init__(self, *, proposal: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal = proposal

    def asked_about(self) -> str:
        """Return the hash of rules and suites."""
        return str(self.proposal["ruleset_sha256"])

    def record_rejection(self, person: str, answered_at: str) -> None:
        """Write the rejection into the ledger."""
        from dicom_migration.cleansing.approval import reject_corrections
        from dicom_migration.hooks.ledger import open_ledger

        with open_ledger(self.ledger_conn_id) as ledger:
            reject_corrections(
                ledger,
                str(self.proposal["wave_id"]),
                str(self.proposal["ruleset_sha256"]),
                person,
                answered_at,
            )


class RecordCorrectionsApprovalOperator(ConnectedOperator):
    """Record who approved the wave's corrections, for exactly the rules that were shown.

    :param proposal: result of :class:`ProposeCorrectionsOperator` (templated)
    :param response: result of the approval task (templated)
    :return: the wave and its approver
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "proposal", "response")

    def __init__(self, *, proposal: Any, response: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal = proposal
        self.response = response

    def execute(self, context: Context) -> dict[str, str]:
        """Write the approval into the ledger."""
        from dicom_migration.cleansing.approval import approve_corrections
        from dicom_migration.hooks.ledger import open_ledger

        wave_id, rules = str(self.proposal["wave_id"]), str(self.proposal["ruleset_sha256"])
        approver = approver_of(self.response, rules)
        with open_ledger(self.ledger_conn_id) as ledger:
            approve_corrections(ledger, wave_id, rules, approver)
        return {"wave_id": wave_id, "approved_by": approver}


class SettleWaveOperator(ConnectedOperator):
    """Approve the corrections, quarantine what still fails, cleanse the rest, announce the wave.

    :param proposal: result of :class:`ProposeCorrectionsOperator` (templated)
    :return: counts of cleansed and quarantined studies and of corrections
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "proposal")

    def __init__(self, *, proposal: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal = proposal

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge once more, since failing studies do not travel between tasks, then settle."""
        from dicom_migration.cleansing.approval import require_approval
        from dicom_migration.cleansing.settlement import settle_wave
        from dicom_migration.hooks.ledger import open_ledger

        wave_id = str(self.proposal["wave_id"])
        _, suites, sha256 = _rules_and_suites()
        with open_ledger(self.ledger_conn_id) as ledger:
            require_approval(ledger, wave_id, sha256)
            _, after = _judge_twice(self, ledger, wave_id, suites, str(context["run_id"]))
            settled = settle_wave(ledger, wave_id, sha256, after.failing)
        if CLEANSED_WAVE in self.outlets:
            # Also when nothing is left to move: the chain must end with a certificate.
            context["outlet_events"][CLEANSED_WAVE].extra = {"waves": [wave_id]}
        self.log.info("%s", settled)
        return settled.summary()


def _rules_and_suites() -> tuple[Any, list[str], str]:
    """Return the rules, the names of the suites, and the hash that an approval is bound to.

    That covers the lists which identities and orders are corrected by.
    """
    from dicom_migration.cleansing.approval import approval_hash
    from dicom_migration.policies import policy_hash
    from dicom_migration.policies.corrections import load_ruleset
    from dicom_migration.quality.suites import suite_names, suites_hash

    ruleset, suites = load_ruleset(), suite_names("header_")
    changing = policy_hash(ruleset) + hash_of_lists()
    return ruleset, suites, approval_hash(changing, suites_hash(suites))


def _judge_twice(
    operator: ConnectedOperator, ledger: Any, wave_id: str, suites: list[str], run: str
) -> Any:
    """Judge the wave's headers as they are and as they will be; keep both, and their scores."""
    from dataclasses import replace

    from dicom_migration.cleansing.judging import judge_wave
    from dicom_migration.cleansing.proposals import read_corrections
    from dicom_migration.ledger import utc_now
    from dicom_migration.quality import judge_frame, scores_of, store_results, store_scores
    from dicom_migration.quality.columns import columns_of_suites

    today = utc_now().date()
    with ledger.read() as connection:
        corrections = read_corrections(connection, wave_id)
    columns = columns_of_suites(suites)
    before = judge_wave(ledger, wave_id, suites, judge_frame, today, (), columns)
    after = judge_wave(ledger, wave_id, suites, judge_frame, today, corrections, columns)
    for when, judged in (("before", before), ("after", after)):
        named: list[Any] = [replace(j, suite=f"{j.suite}:{when}") for j in judged.judgements]  # type: ignore[type-var]
        store_results(ledger, "cleansing", wave_id, named)
        store_scores(ledger, "cleansing", wave_id, run, when, scores_of(judged.judgements))  # type: ignore[arg-type]
        for result in named:
            operator.log.info("%s", result.table())
    return before, after
