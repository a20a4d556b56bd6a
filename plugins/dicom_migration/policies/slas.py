"""How fast retrieval must be, and how it is measured (``include/policies/slas.yaml``)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dicom_migration.policies.loading import Policy, include_dir, load_policy

#: ``restore``: from asking for an archived study until all its objects can be read.
Operation = Literal["first_image", "whole_study", "relevant_prior", "restore"]
Side = Literal["cloud", "source"]
Temperature = Literal["cold", "warm", "busy"]
#: How it was read: an object, a range of a packed one, or the source's own protocol.
Access = Literal["", "s3-object", "s3-range", "C-MOVE", "C-GET", "WADO-RS", "files"]


class SlaRule(Policy):
    """One promise: at `percentile`, `operation` on `side` takes at most `seconds`.

    `modality`, `storage_class`, `temperature`, `access` and the study's age in years (from
    `min_age_years` on, below `max_age_years`) narrow it when they are given. An undated study
    fits no rule that names an age.
    """

    name: str = Field(pattern=r"^[a-z0-9-]+$", max_length=64)
    operation: Operation
    side: Side = "cloud"
    percentile: float = Field(gt=0, le=100)
    seconds: float = Field(gt=0)
    modality: str = ""
    storage_class: str = ""
    temperature: Temperature | Literal[""] = ""
    access: Access = ""
    min_age_years: float | None = Field(default=None, ge=0)
    max_age_years: float | None = Field(default=None, gt=0)


class Sample(Policy):
    """Which studies are measured: at most `studies` of them and `max_mib` of data a pass."""

    studies: int = Field(default=24, ge=1, le=5000)
    max_mib: int = Field(default=2048, ge=1)
    warm_repeats: int = Field(default=1, ge=0, le=20)
    parallel_gets: int = Field(default=8, ge=1, le=64)
    seed: int = 20250101
    max_seconds: float = Field(default=900, gt=0)


class SourceLoad(Policy):
    """The busy hour at the source: off unless asked for, and bounded, for it serves patients.

    Attributes
    ----------
    associations
        Requests at the same time; a source that retrieves by C-MOVE is asked one at a time.
    max_requests
        No more than so many in all, however long the busy hour is.
    """

    enabled: bool = False
    arrivals_per_minute: float = Field(default=12, gt=0, le=600)
    duration_seconds: float = Field(default=60, gt=0, le=3600)
    associations: int = Field(default=2, ge=1, le=16)
    max_requests: int = Field(default=60, ge=1, le=5000)


class BusyHour(Policy):
    """Requests that arrive by themselves, as clinicians do, whether the last one is done or not."""

    enabled: bool = True
    arrivals_per_minute: float = Field(default=60, gt=0, le=60_000)
    duration_seconds: float = Field(default=60, gt=0, le=3600)
    threads: int = Field(default=16, ge=1, le=256)
    operation: Literal["first_image", "whole_study"] = "first_image"
    source: SourceLoad = SourceLoad()


class Archived(Policy):
    """How studies in an archive tier are measured: restored, waited for, read, left to expire.

    Attributes
    ----------
    studies
        How many at most; 0 restores nothing, which is the default: a restore is charged for.
    max_objects, max_mib
        No restore is asked for beyond these.
    retrieval_tier
        ``Bulk`` is the cheapest, ``Expedited`` is not offered by ``DEEP_ARCHIVE``.
    keep_days
        How long the restored copy stays.
    poll_seconds, wait_hours
        How often the store is asked whether it is there, and for how long.
    """

    studies: int = Field(default=0, ge=0, le=1000)
    max_objects: int = Field(default=200, ge=1, le=10_000)
    max_mib: int = Field(default=1024, ge=1)
    retrieval_tier: Literal["Standard", "Bulk", "Expedited"] = "Standard"
    keep_days: int = Field(default=1, ge=1, le=30)
    poll_seconds: float = Field(default=300, gt=0, le=3600)
    wait_hours: float = Field(default=60, gt=0, le=200)


class Budget(Policy):
    """What a run may cost in all; one that would cost more is refused before it starts.

    Attributes
    ----------
    max_requests
        Requests to the store (GET, HEAD, RestoreObject).
    max_gib
        Read from the store, in 2^30 bytes.
    max_source_retrievals, max_source_gib
        Asked of the source.
    max_cost
        In the currency of ``tiers.yaml``, at its list prices.
    """

    max_requests: int = Field(default=50_000, ge=1)
    max_gib: float = Field(default=20, gt=0)
    max_source_retrievals: int = Field(default=2_000, ge=1)
    max_source_gib: float = Field(default=20, gt=0)
    max_cost: float = Field(default=5, gt=0)


class NetworkTest(Policy):
    """How the way to the store, and the source's answer, are measured.

    Attributes
    ----------
    latency_requests
        Small requests, one after the other, to store (HEAD) and source (its check).
    objects, object_mib
        Sent, read back and removed: both directions carry ``objects * object_mib``.
    compared_hours
        How far back the report looks for tests and for the governor's probes.
    """

    latency_requests: int = Field(default=20, ge=1, le=1000)
    objects: int = Field(default=4, ge=1, le=100)
    object_mib: int = Field(default=4, ge=1, le=64)
    compared_hours: float = Field(default=168, gt=0, le=90 * 24)  # probes are kept so long


class Trend(Policy):
    """When a run is called slower than the runs before it.

    Attributes
    ----------
    runs
        Earlier runs that it is compared with and that the report draws.
    min_runs, min_samples
        Fewer earlier runs, or fewer samples on either side, prove nothing.
    alpha
        Probability of a false alarm in a whole run, over all comparisons together.
    min_slowdown
        A median that is slower by less is nobody's concern: 1.2 is a fifth.
    """

    runs: int = Field(default=12, ge=2, le=100)
    min_runs: int = Field(default=5, ge=3)
    min_samples: int = Field(default=8, ge=2)
    alpha: float = Field(default=0.01, gt=0, lt=0.5)
    min_slowdown: float = Field(default=1.2, ge=1)


class SlaPolicy(Policy):
    """Promises, the measurement, and what a breach does.

    ``on_breach``: ``alert`` records the breach and alerts; ``fail`` fails the task too.
    """

    rules: tuple[SlaRule, ...] = ()
    sample: Sample = Sample()
    busy_hour: BusyHour = BusyHour()
    archived: Archived = Archived()
    budget: Budget = Budget()
    network: NetworkTest = NetworkTest()
    trend: Trend = Trend()
    bootstrap_resamples: int = Field(default=1000, ge=100, le=20_000)
    on_breach: Literal["alert", "fail"] = "alert"
    suite: str = "retrieval_sla"

    @model_validator(mode="after")
    def _rules_have_names_of_their_own(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("two rules have the same name")
        return self


def load_sla_policy() -> SlaPolicy:
    """Read ``slas.yaml``."""
    return load_policy(SlaPolicy, include_dir() / "policies" / "slas.yaml")
