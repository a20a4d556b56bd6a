"""The report that a plan is approved on: one self-contained HTML page without PHI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_migration.discovery.plan_figures import PlanFigures, plan_figures
from dicom_migration.reporting import render_report
from dicom_migration.units import human_bytes

if TYPE_CHECKING:
    from dicom_migration.discovery.decisions import PlanPolicies
    from dicom_migration.discovery.planning import Plan
    from dicom_migration.ledger import Ledger


def report_plan(
    ledger: Ledger, plan: Plan, policies: PlanPolicies, profile: dict[str, Any] | None
) -> tuple[str, PlanFigures]:
    """Return the report as HTML, and the figures in it.

    `profile` is the judgement of the inventory suite: ``{"findings": [{"title", "severity",
    "evaluated", "unexpected", "success"}, …]}``.
    """
    with ledger.read() as connection:
        figures = plan_figures(connection, plan, policies)
    tiers = policies.tiers
    html = render_report(
        "plan_report.html.j2",
        plan=plan,
        figures=figures,
        profile=profile,
        strategy=policies.strategy.strategy,
        as_of=policies.as_of.isoformat(),
        currency=tiers.currency,
        region=tiers.region,
        priced_on=tiers.priced_on.isoformat(),
        price_source=tiers.price_source,
        first_tier=tiers.tiers[0].storage_class,
        throughput=policies.strategy.throughput,
    )
    return html, figures


def approval_text(plan: Plan, figures: PlanFigures, policies: PlanPolicies, report_uri: str) -> str:
    """Return what an approver reads in Airflow (Markdown): the plan in a few lines."""
    currency = policies.tiers.currency
    exceptions = sum(figures.exceptions.values())
    return "\n".join(
        (
            f"**Plan {plan.plan_id}**, strategy `{policies.strategy.strategy}`",
            "",
            f"- {plan.studies:,} studies, {plan.instances:,} instances, about "
            f"{human_bytes(plan.bytes_estimated)}, in {plan.waves:,} waves",
            f"- {plan.excluded:,} studies left out by named rules; "
            f"{plan.purge_candidates:,} could be purged at the source",
            f"- about {figures.days:.1f} days; {figures.month:,.2f} {currency} a month "
            f"({figures.month_if_standard:,.2f} all in {policies.tiers.tiers[0].storage_class}), "
            f"{figures.upload:,.2f} {currency} to upload",
            f"- {exceptions:,} open exceptions",
            "",
            f"Report: {report_uri}",
            "",
            f"Approving binds to the content hash `{plan.content_sha256}`.",
        )
    )
