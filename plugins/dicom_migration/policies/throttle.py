"""How hard the transfer may press source and network: ``include/policies/throttle.yaml``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from dicom_migration.policies.loading import Policy, include_dir, load_policy


class GovernorPolicy(Policy):
    """When parallelism steps down, for the people who work with the source, and up again.

    Attributes
    ----------
    enabled
        False: always `max_associations`, and nothing is probed.
    probe_every_s
        Pause between two probes (seconds): a C-ECHO and a C-FIND for one study at the source,
        over an association of their own, and a HEAD at the target.
    answer_within_s
        A probe that takes longer (seconds) counts as not answered.
    max_latency_s
        A C-ECHO or C-FIND slower than this (seconds) is slow, whatever is usual.
    slow_factor
        So is one that takes this many times as long as is usual at this source.
    ignore_below_s
        Anything faster than this (seconds) is quiet, whatever is usual.
    max_target_latency_s
        A HEAD slower than this (seconds) is slow.
    quiet_probes
        After so many quiet probes in a row one more worker may load the source.
    """

    enabled: bool = True
    probe_every_s: float = Field(default=30.0, gt=0, le=3600)
    answer_within_s: float = Field(default=20.0, gt=0, le=300)
    max_latency_s: float = Field(default=3.0, gt=0)
    slow_factor: float = Field(default=5.0, gt=1)
    ignore_below_s: float = Field(default=0.25, ge=0)
    max_target_latency_s: float = Field(default=5.0, gt=0)
    quiet_probes: int = Field(default=4, ge=1)


class ThrottlePolicy(Policy):
    """Bounds over all workers together.

    Attributes
    ----------
    bytes_per_second
        What all workers together may receive; None is no limit. Each has an equal share.
    max_associations
        How many transfer tasks may load the source at once. The pool ``pacs_associations``
        bounds how many run; the governor goes below this number, never above.
    lease_seconds
        After this time without a sign of life what a killed task held is free again (seconds).
    governor
        See :class:`GovernorPolicy`.
    """

    bytes_per_second: int | None = Field(default=None, ge=250_000)
    max_associations: int = Field(default=8, ge=1, le=999)
    lease_seconds: float = Field(default=60.0, ge=1, le=600)
    governor: GovernorPolicy = GovernorPolicy()


def load_throttle_policy(path: Path | None = None) -> ThrottlePolicy:
    """Read the throttle policy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(ThrottlePolicy, path or include_dir() / "policies" / "throttle.yaml")
