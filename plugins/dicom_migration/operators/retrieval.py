"""Operators of the retrieval benchmark DAG: measuring, and judging what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from dicom_migration.notifications.alert import MigrationAlert
from dicom_migration.operators.defaults import BENCHMARK, LEDGER_CONN_ID, TARGET_CONN_ID
from dicom_migration.operators.retrieval_plan import SizedOperator, benchmark_id_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.slas import SlaPolicy
    from dicom_migration.retrieval.report import Findings


class MeasureRetrievalOperator(SizedOperator):
    """Retrieve a sample of verified studies from cloud and source, and time it.

    :param studies: how many studies at most, 0 for the policy's number (templated)
    :param archived_studies: how many in archive tiers, 0 for the policy's number (templated)
    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: ``{"benchmark_id", "studies", "samples", "failed", "bytes", "unmeasured"}``
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """See :class:`dicom_migration.retrieval.benchmark.Benchmark`."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.retrieval.benchmark import Benchmark

        policy = self.policy()
        benchmark_id = benchmark_id_of(str(context["run_id"]))
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as archive,
            open_store(self.target_conn_id) as store,
        ):
            plan = self.plan(ledger, context)
            benchmark = Benchmark(
                archive,
                store,
                ledger,
                policy,
                benchmark_id,
                open_source=lambda: open_archive(self.source_conn_id),
            )
            counts = benchmark.run(plan)
        if not counts["samples"]:
            raise AirflowSkipException("No verified study can be retrieved without a restore.")
        return {"benchmark_id": benchmark_id, **counts}


class JudgeRetrievalOperator(BaseOperator):
    """Judge a benchmark by the promises of ``slas.yaml`` and publish its report.

    A broken promise is an exception and an alert with the numbers and the likely cause, and so is
    a run that is slower than those before it. The task fails only with ``on_breach: fail``.

    :param measured: what :class:`MeasureRetrievalOperator` returned (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: ``{"benchmark_id", "kept", "breached", "not measured", "slower", "report"}``
    """

    template_fields: Sequence[str] = ("measured", "target_conn_id", "ledger_conn_id")

    def __init__(
        self,
        *,
        measured: Any,
        target_conn_id: str = TARGET_CONN_ID,
        ledger_conn_id: str = LEDGER_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.measured = measured
        self.target_conn_id = target_conn_id
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge by Great Expectations, record, publish, alert."""
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.operators.reports import publish_report
        from dicom_migration.policies.slas import load_sla_policy
        from dicom_migration.quality import judge_frame, store_results
        from dicom_migration.retrieval.report import render_retrieval_report
        from dicom_migration.retrieval.results import (
            outcome_counts,
            record_breaches,
            record_slower,
            rules_frame,
        )

        policy = load_sla_policy()
        benchmark_id = str(self.measured["benchmark_id"])
        with open_ledger(self.ledger_conn_id) as ledger, open_store(self.target_conn_id) as store:
            found = self._findings(ledger, policy, benchmark_id)
            quality = judge_frame(rules_frame(found.results), policy.suite, keys=["rule"])
            store_results(ledger, "retrieval", benchmark_id, [quality])
            record_breaches(ledger, found.results, benchmark_id)
            slower = record_slower(ledger, found.comparisons, benchmark_id)
            report = publish_report(
                store,
                ledger,
                kind="retrieval",
                subject=benchmark_id,
                body=render_retrieval_report(found, policy),
                suffix="html",
            )
        self._tell(context, found, report)
        context["outlet_events"][BENCHMARK].extra = {"benchmark_id": benchmark_id}
        _fail_on_breach(policy, quality.success, benchmark_id)
        counts = outcome_counts(found.results)
        return {"benchmark_id": benchmark_id, **counts, "slower": slower, "report": report}

    def _findings(self, ledger: Ledger, policy: SlaPolicy, benchmark_id: str) -> Findings:
        from dicom_migration.retrieval.findings import find_out

        return find_out(ledger, policy, benchmark_id, int(self.measured["studies"]))

    def _tell(self, context: Context, found: Findings, report: str) -> None:
        """Log every result, and alert people to what is broken or slower."""
        bad = [result.told() for result in found.results if result.outcome == "breached"]
        bad += [item.told() for item in found.comparisons if item.verdict == "slower"]
        for result in found.results:
            self.log.info("%s", result.told())
        self.log.info("Report: %s", report)
        if bad:
            subject = f"[image migration] retrieval is too slow: {len(bad)} findings"
            body = "\n".join([*bad, "", f"Benchmark: {found.benchmark_id}", f"Report: {report}"])
            MigrationAlert().send(context, subject, body)


def _fail_on_breach(policy: SlaPolicy, success: bool, benchmark_id: str) -> None:
    from dicom_migration.errors import PermanentError, ReasonCode

    if not success and policy.on_breach == "fail":
        raise PermanentError(
            f"Benchmark {benchmark_id} broke a promise of slas.yaml.",
            reason=ReasonCode.SLA_BREACH,
            next_step="Open the retrieval report; see the exceptions for the measured times.",
        )
