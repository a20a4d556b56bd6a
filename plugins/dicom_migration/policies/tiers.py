"""Where studies are stored by age, and what it costs: ``include/policies/tiers.yaml``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.units import GB


class Tier(Policy):
    """A storage class, the age from which it is used, and its prices.

    Attributes
    ----------
    min_age_months
        Studies at least this old go here, unless an older tier takes them.
    price_gb_month, price_put_1000
        In the policy's currency.
    min_billable_bytes, overhead_bytes
        Charged at least, and charged on top, for every object.
    """

    storage_class: str = Field(pattern=r"^[A-Z_]{3,32}$")
    min_age_months: int = Field(ge=0)
    price_gb_month: float = Field(ge=0)
    price_put_1000: float = Field(ge=0)
    min_billable_bytes: int = Field(default=0, ge=0)
    overhead_bytes: int = Field(default=0, ge=0)
    min_days: int = Field(default=0, ge=0)
    retrieval: str = "milliseconds"

    def monthly_cost(self, objects: int, total_bytes: int) -> float:
        """Return the cost of one month for `objects` that are equally large."""
        if not objects:
            return 0.0
        size = max(total_bytes / objects, self.min_billable_bytes) + self.overhead_bytes
        return objects * size / GB * self.price_gb_month

    def upload_cost(self, objects: int) -> float:
        """Return the cost of the requests that create `objects`."""
        return objects / 1000 * self.price_put_1000


class TiersPolicy(Policy):
    """Storage classes by age of the study, youngest first.

    Attributes
    ----------
    objects
        What one object holds: an instance, or a packed study.
    undated
        Storage class of studies without a usable Study Date.
    """

    currency: str = Field(min_length=3, max_length=3)
    region: str
    priced_on: date
    price_source: str
    objects: Literal["instance", "study"] = "instance"
    undated: str = "STANDARD"
    tiers: tuple[Tier, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _covers_every_age(self) -> Self:
        ages = [tier.min_age_months for tier in self.tiers]
        if ages[0] != 0 or ages != sorted(set(ages)):
            raise ValueError("tiers must begin at min_age_months 0 and be sorted by age")
        if self.undated not in {tier.storage_class for tier in self.tiers}:
            raise ValueError(f"undated: {self.undated} is not one of the tiers")
        return self

    def named(self, storage_class: str) -> Tier | None:
        """Return the tier of a storage class."""
        return next((tier for tier in self.tiers if tier.storage_class == storage_class), None)


def load_tiers_policy(path: Path | None = None) -> TiersPolicy:
    """Read the tiers; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(TiersPolicy, path or include_dir() / "policies" / "tiers.yaml")
