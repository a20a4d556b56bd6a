"""How long a plan takes: deciding, waves, hash; then approval, report and files.

``python -m tests.benchmarks.bench_planning [studies]`` (1,000,000 unless said otherwise) fills a
ledger with made-up studies, on SQLite and on PostgreSQL, and plans them with the shipped policies.
What planning is measured against is a limit, 60 s for a million studies, and no program: there is
none that does the same. The other rows are told without one (peer 0). The highest memory of the
process that did it is in MB; limit 500.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

from sqlalchemy import text

from dicom_migration.discovery.approval import approve_plan
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.plan_export import export_plan
from dicom_migration.discovery.plan_report import report_plan
from dicom_migration.discovery.planning import make_plan
from dicom_migration.ledger import Ledger
from dicom_migration.policies.retention import load_retention_policy
from dicom_migration.policies.strategy import load_strategy_policy
from dicom_migration.policies.tiers import load_tiers_policy
from include.peers.postgres import Postgres
from tests.benchmarks.harness import Comparison, report

SECONDS_A_MILLION, MEGABYTES = 60.0, 500.0
#: 25 years of studies, newest years fullest; the database makes them up by itself.
_FILL = """
WITH RECURSIVE number(n) AS (
  SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM number WHERE n < {studies})
INSERT INTO study (study_instance_uid, state, study_date, patient_id, patient_birth_date,
  modalities, number_of_series, number_of_instances, bytes_estimated,
  first_seen_at, last_seen_at, updated_at)
SELECT '1.2.826.0.1.' || ((n * 7919) % 1000003) || '.' || n, 'discovered',
  CAST(20250101 - 10000 * (((n * 31) % 25) * ((n * 17) % 25) / 25)
    + 100 * (n % 12) + (n % 28) AS VARCHAR(8)),
  'P' || (n % 400000), '19' || (30 + n % 70) || '0615',
  CASE n % 7 WHEN 0 THEN 'MR' WHEN 1 THEN 'CR' WHEN 2 THEN 'US' WHEN 3 THEN 'MG\\SR'
    ELSE 'CT' END,
  1 + n % 5, 1 + (n * 13) % 900, (1 + (n * 13) % 900) * CAST(400000 AS BIGINT),
  {now}, {now}, {now}
FROM number
"""


def main() -> None:
    """Run both databases, each in a process of its own."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory() as folder:
        found += _measured("SQLite", f"sqlite:///{folder}/ledger.db", studies)
        if Postgres.available():
            with Postgres(Path(folder)) as server:
                found += _measured("PostgreSQL", server.url, studies)
    report("planning", found)


def _measured(name: str, url: str, studies: int) -> list[Comparison]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(measure, name, url, studies).result()


def measure(name: str, url: str, studies: int) -> list[Comparison]:
    """Fill a ledger and plan it; runs in its own process, for the sake of its peak memory."""
    policies = PlanPolicies(
        load_strategy_policy(), load_tiers_policy(), load_retention_policy(), date(2026, 1, 1)
    )
    rows: list[Comparison] = []

    def row(what: str, ours: float, limit: float, unit: str) -> None:
        case = f"{what} of {studies:,} studies, {name}"
        rows.append(Comparison(case, ours, limit, unit, ours / limit if limit else 0))

    def timed(what: str, work: Callable[[], object], limit: float = 0) -> None:
        started = time.perf_counter()
        work()
        row(what, time.perf_counter() - started, limit, "s")

    with Ledger(url) as ledger, tempfile.TemporaryDirectory() as folder:
        ledger.upgrade()
        _fill(ledger, studies)
        limit = SECONDS_A_MILLION * studies / 1_000_000
        timed("plan", lambda: make_plan(ledger, policies), limit)
        plan = make_plan(ledger, policies)
        assert plan is not None
        timed("report", lambda: report_plan(ledger, plan, policies, None))
        timed("CSV and Parquet", lambda: export_plan(ledger, plan, Path(folder)))
        timed("approval", lambda: approve_plan(ledger, plan.plan_id, plan.content_sha256, "Bench"))
        timed("planning anew", lambda: make_plan(ledger, policies, replan=True), limit)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row("peak memory", peak, MEGABYTES, "MB")
    return rows


def _fill(ledger: Ledger, studies: int) -> None:
    now = "datetime('now')" if ledger.is_sqlite else "now()"
    with ledger.write() as connection:
        connection.execute(text(_FILL.format(studies=studies, now=now)))
    with ledger.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


if __name__ == "__main__":
    main()
