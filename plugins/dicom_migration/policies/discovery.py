"""How the source is inventoried: ``include/policies/discovery.yaml``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field

from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.policies.windows import WindowPolicy


class SizeEstimate(Policy):
    """Bytes an instance takes, by modality; `default` for the others."""

    default: int = Field(default=500_000, ge=1)
    by_modality: dict[str, int] = Field(default_factory=dict)


class SizeSample(Policy):
    """What is retrieved to learn how large instances are.

    Attributes
    ----------
    instances
        Instances of each modality, each of another study; 0 keeps to `bytes_per_instance`.
    max_mib
        What all of them together may weigh, in MiB: then the sample ends.
    seed
        The same seed chooses the same instances.
    """

    instances: int = Field(default=20, ge=0, le=1000)
    max_mib: int = Field(default=2048, ge=1)
    seed: int = 1


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
    suspicious_counts, suspicious_multiple
        Result sizes that look like a cap nobody told us of; such a window is asked again in
        parts. Multiples count only while no cap is known; 0 suspects none.
    window_queries
        Queries for studies that one window may take.
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
    list_instances
        Ask for the instances of every new or changed study, too: their SOP classes, and whether
        there are as many as the source counts.
    requests_per_second
        Queries that all tasks together may send in a second; None is no limit.
    hours
        When the source may be asked, in the form of ``windows.yaml``; no windows: at any time.
    association_probe
        Associations that the check of the source tries to hold at the same time, 0 for none.
    size_sample
        What is retrieved to estimate sizes.
    vanished_checks
        Studies that an inventory missed and that are asked for by their UID, at most.
    """

    earliest_study_date: date = date(1990, 1, 1)
    window_days: int = Field(default=92, ge=1)
    max_windows: int = Field(default=1000, ge=4, le=10_000)
    parallel_tasks: int = Field(default=8, ge=1, le=1000)
    result_cap: int | None = Field(default=None, ge=1)
    suspicious_counts: tuple[int, ...] = (256, 500, 512, 1000, 1024, 2000, 2048, 4096, 5000, 10_000)
    suspicious_multiple: int = Field(default=100, ge=0)
    window_queries: int = Field(default=5000, ge=1)
    undated_pass: bool = True
    undated_queries: int = Field(default=1000, ge=0)
    count_instances: Literal["when_missing", "never"] = "when_missing"
    list_series: bool = True
    list_instances: bool = False
    requests_per_second: float | None = Field(default=None, gt=0)
    hours: WindowPolicy = WindowPolicy()
    association_probe: int = Field(default=4, ge=0, le=16)
    size_sample: SizeSample = SizeSample()
    vanished_checks: int = Field(default=1000, ge=0)
    bytes_per_instance: SizeEstimate = SizeEstimate()

    def looks_capped(self, results: int, source_cap: int | None = None) -> bool:
        """Tell whether a query's number of results looks like the source's limit.

        `source_cap` is the limit that the connection names, None when it names none.
        """
        caps = [cap for cap in (self.result_cap, source_cap) if cap is not None]
        if any(results >= cap for cap in caps) or results in self.suspicious_counts:
            return True
        multiple = 0 if caps else self.suspicious_multiple
        return bool(multiple and results and results % multiple == 0)


def load_discovery_policy(path: Path | None = None) -> DiscoveryPolicy:
    """Read the discovery policy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(DiscoveryPolicy, path or include_dir() / "policies" / "discovery.yaml")
