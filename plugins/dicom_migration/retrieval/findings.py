"""From the samples of a benchmark to everything that its report and its alert tell."""

from __future__ import annotations

from dicom_migration.ledger import Ledger, utc_now
from dicom_migration.policies.slas import SlaPolicy
from dicom_migration.retrieval.network_cost import recent_costs
from dicom_migration.retrieval.regression import compare_runs
from dicom_migration.retrieval.report import Findings
from dicom_migration.retrieval.results import judge_rules
from dicom_migration.retrieval.samples import began_at, load_earlier_runs, load_samples


def find_out(ledger: Ledger, policy: SlaPolicy, benchmark_id: str, studies: int) -> Findings:
    """Read the ledger once and judge; the same samples give the same findings."""
    with ledger.read() as connection:
        samples = load_samples(connection, benchmark_id)
        began = began_at(connection, benchmark_id)
        earlier = load_earlier_runs(connection, benchmark_id, policy.trend.runs)
    return Findings(
        benchmark_id=benchmark_id,
        began_at=began,
        studies=studies,
        samples=samples,
        results=judge_rules(samples, policy),
        earlier=earlier,
        comparisons=compare_runs(samples, earlier, policy.trend, policy.sample.seed),
        network=recent_costs(ledger, policy, utc_now()),
    )
