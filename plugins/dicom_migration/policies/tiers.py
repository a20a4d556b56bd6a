"""Where studies are stored, and what that costs: ``include/policies/tiers.yaml``.

Money is :class:`~decimal.Decimal` from the file to the report: a sum of floats is not an invoice.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dicom_migration.policies.layouts import ObjectPrices, packing_pays_below
from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.policies.strategy import Name

Price = Annotated[Decimal, Field(ge=0)]
#: Retrievals of a study a year, on average; 0.07 is seven of a hundred.
Rate = Annotated[Decimal, Field(ge=0, le=1000, max_digits=9, decimal_places=4)]
STANDARD = "STANDARD"


class StorageClass(Policy):
    """The prices of an S3 storage class and what it charges for small objects.

    Attributes
    ----------
    gb_month, retrieval_gb
        A month's storage, and a retrieval, of 10^9 bytes.
    put_1000, get_1000, restore_1000, transition_1000
        A thousand requests: to create, to read, to restore before reading, to move here from
        another class by a lifecycle rule.
    min_billable_bytes
        An object is charged as if it had at least this size.
    overhead_bytes, standard_overhead_bytes
        Charged on top for every object, at this class's price and at that of ``STANDARD``.
    min_days
        An object that leaves earlier is charged for so long.
    first_byte
        How long a reader waits, for the report.
    """

    gb_month: Price
    put_1000: Price
    get_1000: Price
    retrieval_gb: Price = Decimal(0)
    restore_1000: Price = Decimal(0)
    transition_1000: Price = Decimal(0)
    min_billable_bytes: int = Field(default=0, ge=0)
    overhead_bytes: int = Field(default=0, ge=0)
    standard_overhead_bytes: int = Field(default=0, ge=0)
    min_days: int = Field(default=0, ge=0)
    first_byte: str = "milliseconds"


class AccessRate(Policy):
    """How often studies are retrieved from the copy; the first band that matches counts.

    Attributes
    ----------
    younger_than_months
        Study age; None for any.
    modalities
        The study contains one of these, when given.
    """

    retrievals_a_year: Rate
    younger_than_months: int | None = Field(default=None, ge=1)
    modalities: tuple[str, ...] = ()


class TierRule(Policy):
    """Puts the studies that fulfil all its conditions into a storage class; first match wins.

    Attributes
    ----------
    min_age_months
        The study is at least this old.
    modalities
        It contains one of these, when given.
    max_retrievals_a_year
        It is expected to be retrieved at most so often, when given.
    """

    name: Name
    storage_class: str
    min_age_months: int = Field(default=0, ge=0)
    modalities: tuple[str, ...] = ()
    max_retrievals_a_year: Rate | None = None

    @property
    def takes_all(self) -> bool:
        """Tell whether every study fulfils it."""
        return (
            not self.min_age_months and not self.modalities and self.max_retrievals_a_year is None
        )


class Packing(Policy):
    """When a study is stored as one object a series instead of one an instance.

    What the plan decides goes before the layout of the transfer policy.

    Attributes
    ----------
    layout
        ``instance``: the plan decides nothing, the transfer policy's layout holds; ``series-zip``:
        always; ``small_instances``: when the study's instances are smaller than `below_bytes` on
        average, and more than its series.
    below_bytes
        None: where packing saves a tenth of what creating the objects and a year's storage cost,
        reckoned for each storage class.
    storage_classes
        Only in these, when given; in the others the plan decides nothing.
    """

    layout: Literal["instance", "series-zip", "small_instances"] = "instance"
    below_bytes: int | None = Field(default=None, ge=1)
    storage_classes: tuple[str, ...] = ()


class TiersPolicy(Policy):
    """Storage classes and prices, rules that choose among them, and expected access.

    Attributes
    ----------
    undated
        Storage class of studies without a usable Study Date.
    transfer_out_gb
        What the network charges for 10^9 bytes that leave the cloud.
    retrievals_a_year
        Of a study on average, where no band of `access` says otherwise.
    horizon_years
        What the total cost is reckoned over.
    """

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    region: str
    priced_on: date
    price_source: str
    transfer_out_gb: Price = Decimal(0)
    storage_classes: dict[Annotated[str, Field(pattern=r"^[A-Z_]{3,32}$")], StorageClass] = Field(
        min_length=1
    )
    rules: tuple[TierRule, ...] = Field(min_length=1)
    undated: str = STANDARD
    retrievals_a_year: Rate = Decimal("0.07")
    access: tuple[AccessRate, ...] = ()
    packing: Packing = Packing()
    horizon_years: int = Field(default=5, ge=1, le=10)

    @model_validator(mode="after")
    def _covers_every_study(self) -> Self:
        known = set(self.storage_classes)
        if STANDARD not in known:
            raise ValueError("storage_classes: STANDARD is what the others are compared with")
        named = [rule.storage_class for rule in self.rules]
        for name in (self.undated, *named, *self.packing.storage_classes):
            if name not in known:
                raise ValueError(f"{name} is not one of the storage_classes")
        if not self.rules[-1].takes_all:
            raise ValueError("the last rule must have no condition, so that it takes the rest")
        names = [rule.name for rule in self.rules]
        if len(names) != len(set(names)):
            raise ValueError("two rules share a name")
        return self

    def packs_below(self, storage_class: str) -> int:
        """Return the mean size of an instance (bytes) below which ``small_instances`` packs."""
        if self.packing.below_bytes is not None:
            return self.packing.below_bytes
        prices = self.storage_classes[storage_class]
        # The part that is charged at the price of STANDARD, as bytes at this class's price.
        ratio = self.storage_classes[STANDARD].gb_month / (prices.gb_month or Decimal(1))
        overhead = prices.overhead_bytes + prices.standard_overhead_bytes * ratio
        return packing_pays_below(
            ObjectPrices(
                float(prices.gb_month),
                float(prices.put_1000),
                prices.min_billable_bytes,
                int(overhead),
            )
        )


def load_tiers_policy(path: Path | None = None) -> TiersPolicy:
    """Read the tiers; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(TiersPolicy, path or include_dir() / "policies" / "tiers.yaml")
