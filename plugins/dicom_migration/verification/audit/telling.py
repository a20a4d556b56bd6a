"""What an audit found, told: counts, what the sample proves, and the report page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.reporting import render_report
from dicom_migration.verification.audit.confidence import Drawn, upper_bound
from dicom_migration.verification.audit.drawing import Frame, Stratum
from dicom_migration.verification.audit.examining import Examined
from dicom_migration.verification.audit.pixels import PixelOutcome
from dicom_migration.verification.audit.rendering import Gallery

#: Findings listed one by one on the page; the ledger has them all.
MAX_LISTED = 200


@dataclass(frozen=True, slots=True)
class Round:
    """One draw: the defects known before it, and the instances it added."""

    failures: int
    drawn: int


@dataclass(slots=True)
class Audit:
    """A whole audit of one wave."""

    wave_id: str
    frame: Frame
    policy: VerificationPolicy
    gallery: Gallery
    examined: list[Examined] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    def statements(self) -> dict[str, str]:
        """Return what the sample proves of pixels and of headers, a sentence each."""
        pixels = {s: n for s, n in self.frame.sizes.items() if s.pixels}
        told = {"pixels": "not audited by policy", "headers": "not audited by policy"}
        if self.policy.pixel_audit.enabled:
            told["pixels"] = self._statement(
                pixels,
                lambda one: None if one.pixels is None else not one.pixels_clean,
                "images",
                "pixels",
            )
        if self.policy.header_audit.enabled:
            told["headers"] = self._statement(
                self.frame.sizes,
                lambda one: None if one.headers is None else bool(one.headers),
                "instances",
                "a header",
            )
        return told

    def _statement(
        self,
        sizes: Mapping[Stratum, int],
        failed: Callable[[Examined], bool | None],
        things: str,
        what: str,
    ) -> str:
        verdicts = [(one.stratum, failed(one)) for one in self.examined]
        compared = Counter(stratum for stratum, bad in verdicts if bad is not None)
        failures = sum(bool(bad) for _, bad in verdicts)
        strata = [Drawn(size, compared[stratum]) for stratum, size in sizes.items()]
        population, total = sum(sizes.values()), sum(compared.values())
        confidence = self.policy.pixel_audit.confidence
        if not population:
            return f"no {things} to audit"
        bound = upper_bound(strata, failures, confidence)
        begin = f"{total:,} of {population:,} {things} compared, {failures:,} with {what} that "
        begin += "differ" if what == "pixels" else "differs"
        if total >= population:
            return f"{begin}: all were compared, so that nothing is left to chance"
        return (
            f"{begin}: with {confidence * 100:.4g} % confidence at most {bound:.3%} of the "
            f"{things} ({int(bound * population + 1e-9):,}) are affected"
        )


def histogram(examined: Sequence[Examined]) -> list[tuple[str, int]]:
    """Return how many samples differ by how much, over all pixels that were compared."""
    total: Counter[int] = Counter()
    for one in examined:
        if one.pixels is not None:
            total.update(one.pixels.histogram)
    return [(_range(least), count) for least, count in sorted(total.items())]


def _range(least: int) -> str:
    return f"{least:,}" if least < 2 else f"{least:,} to {2 * least - 1:,}"


def strata_table(audit: Audit) -> list[dict[str, Any]]:
    """Return one row a stratum: how many there are, and what was found on those drawn."""
    by_stratum: dict[Stratum, list[Examined]] = {}
    for one in audit.examined:
        by_stratum.setdefault(one.stratum, []).append(one)
    rows = []
    for stratum, size in sorted(audit.frame.sizes.items()):
        drawn = by_stratum.get(stratum, [])
        outcomes = Counter(one.pixels.outcome for one in drawn if one.pixels is not None)
        rows.append(
            {
                "stratum": stratum,
                "size": size,
                "drawn": len(drawn),
                "equal": outcomes[PixelOutcome.EQUAL],
                "different": outcomes[PixelOutcome.DIFFERENT],
                "undecodable": outcomes[PixelOutcome.UNDECODABLE],
                "headers": sum(one.headers is not None for one in drawn),
                "headers_different": sum(bool(one.headers) for one in drawn),
                "undelivered": sum(not one.delivered for one in drawn),
            }
        )
    return rows


def render_audit(audit: Audit) -> str:
    """Return the page: UIDs, tags and counts, and pictures only as far as the policy allows."""
    findings = [finding for one in audit.examined for finding in one.findings]
    pixels = [one.pixels for one in audit.examined if one.pixels is not None]
    return render_report(
        "audit_report.html.j2",
        wave_id=audit.wave_id,
        policy=audit.policy,
        statements=audit.statements(),
        strata=strata_table(audit),
        rounds=audit.rounds,
        left_out=sorted(audit.frame.left_out.items()),
        histogram=histogram(audit.examined),
        max_difference=max((one.max_difference for one in pixels), default=0),
        frames=sum(one.frames for one in pixels),
        findings=findings[:MAX_LISTED],
        findings_total=len(findings),
        exhibits=audit.gallery.exhibits,
        withheld=sorted(audit.gallery.withheld.items()),
    )
