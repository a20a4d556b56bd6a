"""Operators of the retrieval benchmark: measure, judge, report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from dicom_migration.operators.defaults import (
    BENCHMARK,
    LEDGER_CONN_ID,
    SOURCE_CONN_ID,
    TARGET_CONN_ID,
)
from dicom_migration.operators.waves import waves_asked_for

if TYPE_CHECKING:
    from airflow.sdk import Context

    from dicom_migration.policies.slas import SlaPolicy


def benchmark_id_of(run_id: str) -> str:
    """Return the benchmark's id: short, and the same for every try of a run."""
    import hashlib

    return f"B{hashlib.sha256(run_id.encode()).hexdigest()[:10]}"


class MeasureRetrievalOperator(BaseOperator):
    """Retrieve a sample of verified studies from cloud and source, and time it.

    :param studies: how many studies at most, 0 for the policy's number (templated)
    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: ``{"benchmark_id", "studies", "samples", "failed", "bytes", "unmeasured"}``
    """

    template_fields: Sequence[str] = (
        "studies",
        "source_conn_id",
        "target_conn_id",
        "ledger_conn_id",
    )

    def __init__(
        self,
        *,
        studies: int | str = 0,
        source_conn_id: str = SOURCE_CONN_ID,
        target_conn_id: str = TARGET_CONN_ID,
        ledger_conn_id: str = LEDGER_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.studies = studies
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """See :func:`dicom_migration.retrieval.benchmark.run_benchmark`."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.ledger import utc_now
        from dicom_migration.policies.slas import load_sla_policy
        from dicom_migration.retrieval.benchmark import run_benchmark

        policy = _sized(load_sla_policy(), int(self.studies or 0))
        benchmark_id = benchmark_id_of(str(context["run_id"]))
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as archive,
            open_store(self.target_conn_id) as store,
        ):
            counts = run_benchmark(
                archive,
                store,
                ledger,
                policy,
                benchmark_id,
                utc_now().date(),
                waves_asked_for(context),
            )
        if not counts["studies"]:
            raise AirflowSkipException("No verified study can be retrieved without a restore.")
        return {"benchmark_id": benchmark_id, **counts}


class JudgeRetrievalOperator(BaseOperator):
    """Judge a benchmark by the promises of ``slas.yaml`` and publish its report.

    A broken promise is an exception and a warning; it fails the task only when the policy says
    ``on_breach: fail``.

    :param measured: what :class:`MeasureRetrievalOperator` returned (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: ``{"benchmark_id", "kept", "breached", "not measured", "report"}``
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
        """Judge by Great Expectations, record, publish."""
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.operators.reports import publish_report
        from dicom_migration.policies.slas import load_sla_policy
        from dicom_migration.quality import judge_frame, store_results
        from dicom_migration.retrieval.report import render_retrieval_report
        from dicom_migration.retrieval.results import (
            judge_rules,
            load_samples,
            outcome_counts,
            record_breaches,
            rules_frame,
        )

        policy = load_sla_policy()
        benchmark_id = str(self.measured["benchmark_id"])
        with open_ledger(self.ledger_conn_id) as ledger, open_store(self.target_conn_id) as store:
            with ledger.read() as connection:
                samples = load_samples(connection, benchmark_id)
            results = judge_rules(samples, policy)
            quality = judge_frame(rules_frame(results), policy.suite, keys=["rule"])
            store_results(ledger, "retrieval", benchmark_id, [quality])
            record_breaches(ledger, results, benchmark_id)
            report = publish_report(
                store,
                ledger,
                kind="retrieval",
                subject=benchmark_id,
                body=render_retrieval_report(
                    benchmark_id, samples, results, policy, int(self.measured["studies"])
                ),
                suffix="html",
            )
        for result in results:
            tell = self.log.warning if result.outcome == "breached" else self.log.info
            tell("%s", result.told())
        self.log.info("Report: %s", report)
        context["outlet_events"][BENCHMARK].extra = {"benchmark_id": benchmark_id}
        _fail_on_breach(policy, quality.success, benchmark_id)
        return {"benchmark_id": benchmark_id, **outcome_counts(results), "report": report}


def _sized(policy: SlaPolicy, studies: int) -> SlaPolicy:
    if not studies:
        return policy
    return policy.model_copy(
        update={"sample": policy.sample.model_copy(update={"studies": studies})}
    )


def _fail_on_breach(policy: SlaPolicy, success: bool, benchmark_id: str) -> None:
    from dicom_migration.errors import PermanentError, ReasonCode

    if not success and policy.on_breach == "fail":
        raise PermanentError(
            f"Benchmark {benchmark_id} broke a promise of slas.yaml.",
            reason=ReasonCode.SLA_BREACH,
            next_step="Open the retrieval report; see the exceptions for the measured times.",
        )
