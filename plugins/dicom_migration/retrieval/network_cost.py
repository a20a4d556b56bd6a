"""What the migration costs clinicians: network and source at rest and during a migration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.slas import SlaPolicy
from dicom_migration.retrieval.statistics import Estimate, estimate
from dicom_migration.units import human_bytes

#: What is compared: kind of sample, what it is called, whether it is a rate.
MEASURES = (
    ("connect", "Opening a connection to the store", False),
    ("head", "Answer of the store to the smallest request", False),
    ("up", "Upload", True),
    ("down", "Download", True),
    ("source", "Answer of the source (C-ECHO or its like)", False),
    ("find", "Answer of the source to a query (C-FIND)", False),
)


@dataclass(frozen=True, slots=True)
class NetworkSample:
    """A request of a network test, or of the governor during a transfer; seconds or bytes/s."""

    kind: str
    value: float
    is_migrating: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """One measure at rest and during a migration: medians, in seconds or bytes a second."""

    kind: str
    title: str
    is_rate: bool
    rest: Estimate
    migrating: Estimate

    @property
    def change(self) -> float | None:
        """How much larger during a migration: 0.5 is half as much again; None when not known."""
        if not self.rest.n or not self.migrating.n or not self.rest.seconds:
            return None
        return self.migrating.seconds / self.rest.seconds - 1

    def told(self) -> str:
        """Return it as one line without PHI."""

        def value(found: Estimate) -> str:
            if not found.n:
                return "not measured"
            text = f"{human_bytes(found.seconds)}/s" if self.is_rate else f"{found.seconds:.4f} s"
            return f"{text} (n={found.n})"

        change = "" if self.change is None else f": {self.change:+.0%}"
        certain = "" if not change else (", certain" if self.is_certain else ", within noise")
        return (
            f"{self.title}: at rest {value(self.rest)}, during a migration "
            f"{value(self.migrating)}{change}{certain}"
        )

    @property
    def is_certain(self) -> bool:
        """Whether the two 95% intervals lie apart."""
        if not self.rest.n or not self.migrating.n:
            return False
        return self.migrating.low > self.rest.high or self.migrating.high < self.rest.low


def recent_costs(ledger: Ledger, policy: SlaPolicy, now: datetime) -> list[NetworkCost]:
    """Return the costs over the last ``network.compared_hours``."""
    since = now - timedelta(hours=policy.network.compared_hours)
    with ledger.read() as connection:
        samples = load_network_samples(connection, since, now)
    resamples, seed = policy.bootstrap_resamples, policy.sample.seed
    return network_costs(samples, resamples=resamples, seed=seed)


def load_network_samples(
    connection: Connection, since: datetime, until: datetime
) -> list[NetworkSample]:
    """Return the samples of network tests and the governor's probes, which run in transfers only.

    Failures are left out: how many there were is in the ledger.
    """
    table = schema.network_sample.c
    rows = connection.execute(
        select(table.kind, table.seconds, table.bytes, table.workers, table.started_at).where(
            table.started_at > since, table.started_at <= until, table.seconds.is_not(None)
        )
    )
    samples = [
        NetworkSample(kind, _value(seconds, size), workers > 0, at)
        for kind, seconds, size, workers, at in rows
    ]
    return samples + list(_governor_samples(connection, since, until))


def network_costs(
    samples: Sequence[NetworkSample], *, resamples: int, seed: int
) -> list[NetworkCost]:
    """Return every measure that occurs, in the order of :data:`MEASURES`."""

    def median_of(kind: str, *, migrating: bool) -> Estimate:
        values = [s.value for s in samples if s.kind == kind and s.is_migrating is migrating]
        return estimate(values, 50, resamples=resamples, seed=seed)

    costs = [
        NetworkCost(
            kind,
            title,
            is_rate,
            median_of(kind, migrating=False),
            median_of(kind, migrating=True),
        )
        for kind, title, is_rate in MEASURES
    ]
    return [cost for cost in costs if cost.rest.n or cost.migrating.n]


def _governor_samples(
    connection: Connection, since: datetime, until: datetime
) -> Iterator[NetworkSample]:
    table = schema.governor_probe.c
    rows = connection.execute(
        select(table.probed_at, table.echo_s, table.find_s, table.target_s).where(
            table.probed_at > since, table.probed_at <= until
        )
    )
    for at, echo_s, find_s, target_s in rows:
        for kind, seconds in (("source", echo_s), ("find", find_s), ("head", target_s)):
            if seconds is not None:
                yield NetworkSample(kind, seconds, True, at)


def _value(seconds: float, size: int) -> float:
    return size / seconds if size and seconds else seconds
