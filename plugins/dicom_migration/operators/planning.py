"""Operators of the discovery DAG's second half: plan, and have the plan signed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dicom_migration.operators.approval import StandingApprovalOperator, approver_of
from dicom_migration.operators.connected import ConnectedOperator
from dicom_migration.operators.defaults import APPROVED_PLAN

if TYPE_CHECKING:
    from airflow.sdk import Context

    from dicom_migration.discovery.decisions import PlanPolicies
    from dicom_migration.discovery.plan_figures import PlanFigures
    from dicom_migration.discovery.planning import Plan
    from dicom_migration.ledger import Ledger


class MakePlanOperator(ConnectedOperator):
    """Decide over every study, cut waves, reckon cost and time, publish the plan report.

    Skipped when no study is left to decide on.

    :param plan_quarantined: "True" to plan quarantined studies again (templated)
    :param replan: "True" to decide anew over what approved plans have not begun (templated)
    :return: the plan's id, hash, counts, the addresses of the report and of the plan as CSV and
        Parquet, and the text for its approval
    """

    template_fields: Sequence[str] = (
        *ConnectedOperator.template_fields,
        "plan_quarantined",
        "replan",
    )

    def __init__(self, *, plan_quarantined: str = "", replan: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_quarantined = plan_quarantined
        self.replan = replan

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the same plan for the same studies and policies."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.discovery.plan_report import approval_text
        from dicom_migration.discovery.planning import make_plan
        from dicom_migration.hooks.ledger import open_ledger

        policies = load_plan_policies()
        with open_ledger(self.ledger_conn_id) as ledger:
            plan = make_plan(
                ledger,
                policies,
                plan_quarantined=_is_true(self.plan_quarantined),
                replan=_is_true(self.replan),
            )
            if plan is None:
                raise AirflowSkipException(
                    "Every study is in an approved plan, excluded by one, or quarantined: "
                    "there is nothing to plan."
                )
            figures, addresses = self._publish(ledger, plan, policies)
        text = approval_text(plan, figures, policies, addresses["report_uri"])
        self.log.info("%s", text)
        return {**plan.summary(), **addresses, "approval_text": text}

    def _publish(
        self, ledger: Ledger, plan: Plan, policies: PlanPolicies
    ) -> tuple[PlanFigures, dict[str, str]]:
        """Store the report and the plan itself beside the data."""
        from dicom_migration.discovery.plan_export import export_plan
        from dicom_migration.discovery.plan_report import report_plan
        from dicom_migration.discovery.profile import SUBJECT, SUITE
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.operators.reports import publish_file, publish_report
        from dicom_migration.policies.windows import load_window_policy
        from dicom_migration.quality.storing import stored_report

        profile = stored_report(ledger, "discovery", SUBJECT, SUITE)
        html, figures = report_plan(ledger, plan, policies, profile, load_window_policy())
        subject = plan.plan_id
        with TemporaryDirectory() as folder, open_store(self.target_conn_id) as store:
            report = publish_report(
                store, ledger, kind="plan", subject=subject, body=html, suffix="html"
            )
            csv, parquet = (
                publish_file(store, ledger, kind="plan_studies", subject=subject, path=path)
                for path in export_plan(ledger, plan, Path(folder))
            )
        return figures, {"report_uri": report, "csv_uri": csv, "parquet_uri": parquet}


class ApprovePlanOperator(StandingApprovalOperator):
    """Ask a person to approve the plan; a rejection goes on record with the name.

    :param plan: result of :class:`MakePlanOperator` (templated)
    """

    template_fields: Collection[str] = (*StandingApprovalOperator.template_fields, "plan")

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def asked_about(self) -> str:
        """Return the plan's content hash."""
        return str(self.plan["content_sha256"])

    def record_rejection(self, person: str, answered_at: str) -> None:
        """Write the rejection into the ledger."""
        from dicom_migration.discovery.approval import reject_plan
        from dicom_migration.hooks.ledger import open_ledger

        with open_ledger(self.ledger_conn_id) as ledger:
            reject_plan(
                ledger,
                str(self.plan["plan_id"]),
                str(self.plan["content_sha256"]),
                person,
                answered_at,
            )


class RecordPlanApprovalOperator(ConnectedOperator):
    """Record who approved the plan, for exactly the content that was shown.

    :param plan: result of :class:`MakePlanOperator` (templated)
    :param response: result of the approval task (templated)
    :return: the plan's id and its approver
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "plan", "response")

    def __init__(self, *, plan: Any, response: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.response = response

    def execute(self, context: Context) -> dict[str, str]:
        """Announce the approved plan to the cleansing DAG."""
        from dicom_migration.discovery.approval import approve_plan
        from dicom_migration.hooks.ledger import open_ledger

        content = str(self.plan["content_sha256"])
        approver = approver_of(self.response, content)
        with open_ledger(self.ledger_conn_id) as ledger:
            plan = approve_plan(ledger, str(self.plan["plan_id"]), content, approver)
        if APPROVED_PLAN in self.outlets:
            context["outlet_events"][APPROVED_PLAN].extra = {"plan_id": plan.plan_id}
        self.log.info("Plan %s is approved by %s", plan.plan_id, plan.approved_by)
        return {"plan_id": plan.plan_id, "approved_by": plan.approved_by}


def load_plan_policies() -> PlanPolicies:
    """Return the policies that a plan made today follows."""
    from dicom_migration.discovery.decisions import PlanPolicies
    from dicom_migration.ledger import utc_now
    from dicom_migration.policies.retention import load_retention_policy
    from dicom_migration.policies.strategy import load_strategy_policy
    from dicom_migration.policies.tiers import load_tiers_policy

    as_of = utc_now().date()
    return PlanPolicies(load_strategy_policy(), load_tiers_policy(), load_retention_policy(), as_of)


def _is_true(templated: object) -> bool:
    return str(templated).lower() == "true"
