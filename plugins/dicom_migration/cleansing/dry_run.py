"""The corrections tried on real instances before anybody approves them; nothing is stored.

A few instances of each rule are retrieved and corrected as the transfer would, and both are read
again by a parser that knows no rule. What is told are forms of values and counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from dicom_migration.archive import InstanceIdentity, InstanceRecord
from dicom_migration.archive.sinks import MemorySink
from dicom_migration.cleansing.facts import covers, read_facts
from dicom_migration.cleansing.proposals import Correction, read_corrections
from dicom_migration.cleansing.report import masked
from dicom_migration.datasets import parse_dataset
from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, ReasonCode

if TYPE_CHECKING:
    from pydicom import Dataset

    from dicom_migration.archive import ImageArchive
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.cleansing import CleansingPolicy

_RECORD = 0x04000561
_SHOWN = 20


class Corrector(Protocol):
    """What corrects one instance: the transfer, without its storing."""

    def __call__(
        self, identity: InstanceIdentity, data: bytes, study: str, corrections: list[Correction]
    ) -> bytes:
        """Return the dataset as it would be stored."""


@dataclass(slots=True)
class DryRun:
    """What came of it.

    Attributes
    ----------
    changes
        How often an attribute's value of one form became one of another: letters are A, digits 9.
    refused
        Instances that could not be retrieved or corrected, by reason code.
    unnamed
        Elements that differ without a rule that names them; must be 0.
    """

    instances: int = 0
    changes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unnamed: int = 0

    def text(self) -> str:
        """Return it as a person reads it (Markdown)."""
        lines = [
            f"**Tried on {self.instances:,} instances**, nothing stored: "
            f"{self.unnamed:,} elements changed that no rule names.",
            "",
            *(
                f"- {keyword}: `{old}` → `{new}` ({count:,})"
                for (keyword, old, new), count in self.changes.most_common(_SHOWN)
            ),
            *(f"- not corrected, `{reason}`: {n:,}" for reason, n in self.refused.items()),
        ]
        return "\n".join(lines)


def dry_run(
    ledger: Ledger, wave_id: str, archive: ImageArchive, policy: CleansingPolicy, correct: Corrector
) -> DryRun:
    """Try the wave's corrections on ``dry_run_instances`` instances of each rule.

    Raises
    ------
    TransientError
        The source broke off.
    PermanentError
        The source refuses us, or a correction changes what it does not name
        (``correction_failed``).
    """
    with ledger.read() as connection:
        corrections = read_corrections(connection, wave_id)
        rows = read_facts(connection, wave_id)
    tried = DryRun()
    for row, mine in _sample(rows, corrections, policy.dry_run_instances):
        try:
            _try_on(row, mine, archive, policy, correct, tried)
        except PermanentError as error:
            if error.reason in CONCERNS_EVERYBODY:
                raise
            tried.refused[error.reason.value] += 1
    if tried.unnamed:
        raise PermanentError(
            f"Corrections of wave {wave_id} change {tried.unnamed} elements that no rule names.",
            reason=ReasonCode.CORRECTION_FAILED,
            next_step="Do not approve. Report it with the rules and the UIDs of the wave.",
        )
    return tried


def _sample(
    rows: list[dict[str, Any]], corrections: Iterable[Correction], each: int
) -> Iterator[tuple[dict[str, Any], list[Correction]]]:
    """Yield headers that `each` rule corrects so many of, with all their corrections."""
    by_study: dict[str, list[Correction]] = {}
    for correction in corrections:
        by_study.setdefault(correction.study_instance_uid, []).append(correction)
    had: Counter[str] = Counter()
    for row in rows:
        mine = [c for c in by_study.get(row["study_instance_uid"], ()) if covers(c, row)]
        if any(had[correction.rule_id] < each for correction in mine):
            had.update(correction.rule_id for correction in mine)
            yield row, mine


def _try_on(
    row: dict[str, Any],
    corrections: list[Correction],
    archive: ImageArchive,
    policy: CleansingPolicy,
    correct: Corrector,
    tried: DryRun,
) -> None:
    study, sop = str(row["study_instance_uid"]), str(row["sop_instance_uid"])
    sink = MemorySink(max_bytes=policy.max_instance_mib * 1024 * 1024)
    record = InstanceRecord(
        study, str(row["series_instance_uid"]), sop, str(row["sop_class_uid"] or "")
    )
    archive.retrieve_instance(record, sink)
    if not sink.instances:
        tried.refused[ReasonCode.INSTANCE_MISSING.value] += 1
        return
    identity, data = sink.instances[0]
    made = correct(identity, data, study, corrections)
    syntax = identity.transfer_syntax_uid
    before = parse_dataset(data, syntax, sop_instance_uid=sop)
    after = parse_dataset(made, syntax, sop_instance_uid=sop)
    tried.instances += 1
    named = {c.keyword for c in corrections}
    reencoded = any(c.text_charset for c in corrections)
    for tag in _differing(before, after):
        keyword = _keyword(tag)
        if keyword in named:
            forms = masked(_shown(before, tag)), masked(_shown(after, tag))
            tried.changes[keyword, *forms] += 1
        elif tag != _RECORD and tag & 0xFFFF and not reencoded:
            tried.unnamed += 1


def _differing(before: Dataset, after: Dataset) -> list[int]:
    """Return the tags whose elements differ in their bytes, or are in one only."""
    tags = sorted({int(tag) for tag in (*before.keys(), *after.keys())})
    return [tag for tag in tags if _raw(before, tag) != _raw(after, tag)]


def _raw(dataset: Dataset, tag: int) -> object:
    if tag not in dataset:
        return None
    element = dataset.get_item(tag)
    return element.VR, element.value


def _shown(dataset: Dataset, tag: int) -> str:
    value = dataset.get_item(tag).value if tag in dataset else ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 ")


def _keyword(tag: int) -> str:
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag)
