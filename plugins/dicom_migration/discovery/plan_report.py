"""The report that a plan is approved on: one self-contained HTML page without PHI."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dicom_migration.discovery.plan_charts import (
    column_chart,
    cost_stacks,
    fan_chart,
    spoken_date,
)
from dicom_migration.discovery.plan_figures import PlanFigures, plan_figures
from dicom_migration.discovery.risks import risks
from dicom_migration.policies.windows import WindowPolicy
from dicom_migration.reporting import render_report
from dicom_migration.units import human_bytes

if TYPE_CHECKING:
    from dicom_migration.discovery.decisions import PlanPolicies
    from dicom_migration.discovery.planning import Plan
    from dicom_migration.ledger import Ledger


def report_plan(
    ledger: Ledger,
    plan: Plan,
    policies: PlanPolicies,
    profile: dict[str, Any] | None,
    windows: WindowPolicy | None = None,
) -> tuple[str, PlanFigures]:
    """Return the report as HTML, and the figures in it.

    Parameters
    ----------
    profile
        The judgement of the inventory suite: ``{"findings": [{"title", "severity", "evaluated",
        "unexpected", "success"}, …]}``.
    windows
        When the transfer may run; None: as much of each day as the strategy policy says.
    """
    windows = windows or WindowPolicy()
    with ledger.read() as connection:
        figures = plan_figures(connection, plan, policies, windows)
    start = figures.waves[0].begins if figures.waves else None
    html = render_report(
        "plan_report.html.j2",
        plan=plan,
        figures=figures,
        profile=profile,
        policies=policies,
        windows=windows,
        risks=risks(figures, policies.tiers, policies.as_of),
        by_year=column_chart(
            figures.archive.by_year, figures.migrated_by_year, figures.left_out_by_year
        ),
        stacks=cost_stacks(figures.costs, width=500),
        fan=fan_chart(figures.waves, start or datetime.combine(policies.as_of, time(), UTC)),
        cheapest=min(figures.costs, key=lambda cost: cost.total),
        day=spoken_date,
        whole=whole_money,
        change=signed_money,
    )
    return html, figures


def approval_text(plan: Plan, figures: PlanFigures, policies: PlanPolicies, report_uri: str) -> str:
    """Return what an approver reads in Airflow (Markdown): the plan in a few lines."""
    currency = policies.tiers.currency
    years = policies.tiers.horizon_years
    lines = [
        f"**Plan {plan.plan_id}**, strategy `{policies.strategy.strategy}`",
        "",
        f"- {plan.studies:,} studies, {plan.instances:,} instances, about "
        f"{human_bytes(plan.bytes_estimated)}, in {plan.waves:,} waves",
        f"- {plan.excluded:,} studies left out by named rules; "
        f"{plan.purge_candidates:,} could be purged at the source",
        f"- {finish(figures)}",
        f"- {figures.cost.month:,.2f} {currency} a month at first "
        f"({figures.standard.month:,.2f} all in S3 Standard), {figures.cost.upload:,.2f} "
        f"{currency} to upload, {figures.cost.total:,.2f} {currency} over {years} years",
        f"- {sum(figures.exceptions.values()):,} open exceptions",
    ]
    if figures.changes is not None:
        changed = figures.changes
        lines.append(
            f"- against plan {changed.last_plan_id}, approved last: {changed.added:,} studies "
            f"added, {changed.let_in:,} let in, {changed.let_out:,} let out, "
            f"{changed.other_class:,} with another storage class, {changed.kept:,} kept as they "
            f"are; {signed_money(changed.total)} {currency} over {years} years"
        )
    lines += [
        "",
        f"Report: {report_uri}",
        "",
        f"Approving binds to the content hash `{plan.content_sha256}`.",
    ]
    return "\n".join(lines)


def finish(figures: PlanFigures) -> str:
    """Say when the last wave ends, as a range."""
    if not figures.waves:
        return "nothing to transfer"
    last = figures.waves[-1]
    best, expected, worst = (
        spoken_date(day) if day else "not within fifty years"
        for day in (last.optimistic, last.expected, last.pessimistic)
    )
    return f"expected to end on {expected}; at best {best}, at worst {worst}"


def whole_money(amount: Decimal) -> str:
    """Return an amount without cents, unless it is small."""
    return f"{amount:,.0f}" if abs(amount) >= 100 else f"{amount:,.2f}"


def signed_money(amount: Decimal) -> str:
    """Return a difference of amounts with its sign."""
    sign = "+" if amount > 0 else "−" if amount < 0 else "±"
    return f"{sign}{whole_money(abs(amount))}"
