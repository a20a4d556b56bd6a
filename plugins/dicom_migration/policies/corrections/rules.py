"""One permitted change, and the set of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dicom_migration.policies.corrections.attributes import Keyword
from dicom_migration.policies.corrections.conditions import Condition
from dicom_migration.policies.corrections.operations import CHARSET_KEYWORD, Operation
from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.policies.strategy import Name


class Example(Policy):
    """A header before, and what the rule makes of its attribute; None: the rule does nothing."""

    given: dict[str, str]
    expect: str | None


class CorrectionRule(Policy):
    """One permitted change.

    Attributes
    ----------
    keyword
        The attribute it changes.
    level
        ``study``: the value must be one for the whole study; ``series``: series by series.
    owner
        The role that answers for the rule.
    """

    id: Name
    keyword: Keyword
    level: Literal["study", "series"] = "series"
    reason: str = Field(min_length=10)
    owner: str = Field(min_length=3)
    when: Condition
    operation: Operation
    examples: tuple[Example, ...] = Field(min_length=1)

    def correct(self, header: Mapping[str, str]) -> str | None:
        """Return the new value for a header (values by keyword), None when nothing changes."""
        value = header.get(self.keyword, "")
        if not self.when.holds(value, header):
            return None
        new = self.operation.result(value, header, self.keyword)
        return None if new == value else new

    @model_validator(mode="after")
    def _is_of_its_attribute(self) -> Self:
        if self.operation.concerns_charset and self.keyword != CHARSET_KEYWORD:
            raise ValueError(f"{self.operation.name} is for {CHARSET_KEYWORD} only")
        return self

    @model_validator(mode="after")
    def _does_what_it_says(self) -> Self:
        for number, example in enumerate(self.examples, start=1):
            made = self.correct(example.given)
            if made != example.expect:
                raise ValueError(
                    f"rule {self.id}, example {number}: expected {example.expect!r}, "
                    f"the rule makes {made!r}"
                )
        if all(example.expect is None for example in self.examples):
            raise ValueError(f"rule {self.id} has no example in which it changes something")
        return self


class RuleSet(Policy):
    """All rules; of those for one attribute the first that applies makes the change."""

    rules: tuple[CorrectionRule, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [rule.id for rule in self.rules]
        if len(ids) != len(set(ids)):
            raise ValueError("two rules share an id; a correction could not be traced to one")
        return self


def load_ruleset(path: Path | None = None) -> RuleSet:
    """Read the rules; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(RuleSet, path or include_dir() / "cleansing" / "rules.yaml")
