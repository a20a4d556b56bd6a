"""How fast retrieval must be, and how it is measured (``include/policies/slas.yaml``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dicom_migration.policies.loading import Policy, include_dir, load_policy

Operation = Literal["first_image", "whole_study"]
Side = Literal["cloud", "source"]
Temperature = Literal["cold", "warm", "busy"]


class SlaRule(Policy):
    """One promise: at `percentile`, `operation` on `side` takes at most `seconds`.

    `modality`, `storage_class` and `temperature` narrow it when they are not empty.
    """

    name: str = Field(pattern=r"^[a-z0-9-]+$", max_length=64)
    operation: Operation
    side: Side = "cloud"
    percentile: float = Field(gt=0, le=100)
    seconds: float = Field(gt=0)
    modality: str = ""
    storage_class: str = ""
    temperature: Temperature | Literal[""] = ""


class Sample(Policy):
    """Which studies are measured: at most `studies` of them and `max_mib` of data a pass."""

    studies: int = Field(default=24, ge=1, le=5000)
    max_mib: int = Field(default=2048, ge=1)
    warm_repeats: int = Field(default=1, ge=0, le=20)
    parallel_gets: int = Field(default=8, ge=1, le=64)
    seed: int = 20250101
    max_seconds: float = Field(default=900, gt=0)


class BusyHour(Policy):
    """Requests that arrive by themselves, as clinicians do, whether the last one is done or not."""

    enabled: bool = True
    arrivals_per_minute: float = Field(default=60, gt=0, le=60_000)
    duration_seconds: float = Field(default=60, gt=0, le=3600)
    threads: int = Field(default=16, ge=1, le=256)
    operation: Operation = "first_image"


class SlaPolicy(Policy):
    """Promises, the measurement, and what a breach does.

    ``on_breach``: ``alert`` records the breach and warns; ``fail`` fails the task too.
    """

    rules: tuple[SlaRule, ...] = ()
    sample: Sample = Sample()
    busy_hour: BusyHour = BusyHour()
    bootstrap_resamples: int = Field(default=1000, ge=100, le=20_000)
    on_breach: Literal["alert", "fail"] = "alert"
    suite: str = "retrieval_sla"


def load_sla_policy() -> SlaPolicy:
    """Read ``slas.yaml``."""
    return load_policy(SlaPolicy, include_dir() / "policies" / "slas.yaml")
