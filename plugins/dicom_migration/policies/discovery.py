"""How the source is inventoried: ``include/policies/discovery.yaml``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field

from dicom_migration.policies.loading import Policy, include_dir, load_policy


class SizeEstimate(Policy):
    """Bytes an instance takes, by modality; `default` for the others."""

    default: int = Field(default=500_000, ge=1)
    by_modality: dict[str, int] = Field(default_factory=dict)


class DiscoveryPolicy(Policy):
    """The inventory's windows and questions.

    Attributes
    ----------
    earliest_study_date
        Where the date windows begin; older studies are found by an open-ended window.
    window_days
        Days one query covers; made wider when more than `max_windows` would be needed.
    parallel_tasks
        Mapped tasks that share the windows.
    result_cap
        Studies the source returns at most to one query, when it is known; that of the Airflow
        connection counts beside it.
    suspicious_counts
        Result sizes that look like a cap nobody told us of; such a window is bisected.
    undated_pass
        Also ask without a date, for studies whose Study Date (0008,0020) no range matches.
    undated_queries
        Queries by the beginning of the Patient ID that a pass without a date may take more, when
        its answer looks cut off.
    count_instances
        ``when_missing`` asks series and instances of a study whose size the source does not
        tell; ``never`` takes what it tells.
    list_series
        Ask for the series of every new or changed study.
    """

    earliest_study_date: date = date(1990, 1, 1)
    window_days: int = Field(default=92, ge=1)
    max_windows: int = Field(default=1000, ge=4, le=10_000)
    parallel_tasks: int = Field(default=8, ge=1, le=1000)
    result_cap: int | None = Field(default=None, ge=1)
    suspicious_counts: tuple[int, ...] = (500, 1000, 2000, 5000, 10_000)
    undated_pass: bool = True
    undated_queries: int = Field(default=1000, ge=0)
    count_instances: Literal["when_missing", "never"] = "when_missing"
    list_series: bool = True
    bytes_per_instance: SizeEstimate = SizeEstimate()

    def looks_capped(self, results: int, source_cap: int | None = None) -> bool:
        """Tell whether a query's number of results looks like the source's limit.

        `source_cap` is the limit that the connection names, None when it names none.
        """
        if any(cap is not None and results >= cap for cap in (self.result_cap, source_cap)):
            return True
        return results in self.suspicious_counts


def load_discovery_policy(path: Path | None = None) -> DiscoveryPolicy:
    """Read the discovery policy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(DiscoveryPolicy, path or include_dir() / "policies" / "discovery.yaml")
