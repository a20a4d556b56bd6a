"""What a person who signs a plan has to know of its weak points."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from dicom_migration.errors import ReasonCode
from dicom_migration.units import human_bytes

if TYPE_CHECKING:
    from dicom_migration.discovery.archive_figures import ArchiveFigures
    from dicom_migration.discovery.plan_figures import PlanFigures
    from dicom_migration.policies.tiers import TiersPolicy

#: Prices that were compared longer ago than this are named as a risk.
STALE_PRICE_DAYS = 183


@dataclass(frozen=True, slots=True)
class Risk:
    """Something that may turn out otherwise; `level` is ``high``, ``medium`` or ``low``."""

    level: str
    title: str
    meaning: str


def risks(figures: PlanFigures, tiers: TiersPolicy, as_of: date) -> list[Risk]:
    """Return the risks that the figures show, the gravest first."""
    archive = figures.archive
    found = [
        *_of_the_inventory(archive, figures.exceptions),
        *_of_the_sizes(archive),
        *_of_the_timeline(figures),
        *_of_the_prices(tiers, as_of),
    ]
    return sorted(found, key=lambda risk: ("high", "medium", "low").index(risk.level))


def _of_the_inventory(archive: ArchiveFigures, open_: dict[str, int]) -> list[Risk]:
    found = []
    capped = open_.get(ReasonCode.WINDOW_CAPPED.value, 0)
    if capped:
        found.append(
            Risk(
                "high",
                f"{capped:,} date ranges may hold more studies than were found",
                "The source cut its answer and could not be asked in smaller parts. Until its "
                "limit is raised, studies may be missing from this plan.",
            )
        )
    kept_back = archive.by_state.get("quarantined", 0)
    if kept_back:
        found.append(
            Risk(
                "medium",
                f"{kept_back:,} studies are kept back",
                "A person has to decide on them first; they are not in this plan.",
            )
        )
    if archive.vanished:
        found.append(
            Risk(
                "medium",
                f"{archive.vanished:,} studies were not found again by the last inventory",
                "They may have been deleted or merged at the source.",
            )
        )
    if archive.undated:
        found.append(
            Risk(
                "medium",
                f"{archive.undated:,} studies have no usable date",
                "Rules by age cannot judge them; they go into the storage class that the policy "
                "names for them and are never purge candidates.",
            )
        )
    unusual = [each for each in archive.sop_classes if each.unusual]
    if unusual:
        found.append(
            Risk(
                "medium",
                f"{len(unusual):,} unusual kinds of objects",
                "Private, retired or raw data: check that the target's viewers can show them.",
            )
        )
    return found


def _of_the_sizes(archive: ArchiveFigures) -> list[Risk]:
    found = []
    by_basis = {group.name: group for group in archive.by_basis}
    assumed, sampled = by_basis.get("assumed"), by_basis.get("sampled")
    if assumed is not None and archive.total.bytes:
        share = 100 * assumed.bytes / archive.total.bytes
        told = f"{share:.0f} %" if share >= 1 else "Less than 1 %"
        found.append(
            Risk(
                "medium",
                f"{told} of the volume is assumed",
                "The source does not tell sizes: they are the number of instances times what an "
                "instance of the modality usually takes. Volume, cost and time depend on it.",
            )
        )
    if sampled is not None:
        found.append(
            Risk(
                "low",
                f"{human_bytes(sampled.bytes)} are estimated from retrieved samples",
                f"With 95 % confidence within {human_bytes(archive.bytes_error)}, if all errors "
                "went one way.",
            )
        )
    if archive.uncounted:
        found.append(
            Risk(
                "medium",
                f"{archive.uncounted:,} studies have an unknown number of instances",
                "They count nothing in volume, cost and time.",
            )
        )
    return found


def _of_the_timeline(figures: PlanFigures) -> list[Risk]:
    found = []
    if not figures.speeds.measured_hours:
        found.append(
            Risk(
                "medium",
                "The speed is an assumption",
                "No transfer has been measured yet. The range of the finish date is that of the "
                "policy; a first wave replaces it.",
            )
        )
    if figures.waves and figures.waves[-1].pessimistic is None:
        found.append(
            Risk(
                "high",
                "At the pessimistic speed the migration does not end",
                "Within fifty years it does not: widen the transfer windows.",
            )
        )
    return found


def _of_the_prices(tiers: TiersPolicy, as_of: date) -> list[Risk]:
    age = (as_of - tiers.priced_on).days
    if age <= STALE_PRICE_DAYS:
        return []
    return [
        Risk(
            "low",
            f"The prices are {age} days old",
            f"Compare them with {tiers.price_source} and set priced_on.",
        )
    ]
