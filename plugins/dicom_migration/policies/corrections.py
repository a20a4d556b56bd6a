"""Correction rules: what may be changed in a header, when, to what, and by whose authority.

``include/cleansing/rules.yaml``. A rule carries examples, and is refused when it does not do
what its examples say; so a rule is tested wherever it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dicom_migration.header_facts import TEXT_ENCODING, TEXT_FACTS
from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.policies.strategy import Name

#: Attributes a rule may read and change: those the ledger keeps of every header.
KEYWORDS: frozenset[str] = frozenset(keyword for _, keyword in TEXT_FACTS)
MAX_PATTERN = 200
#: A pattern sees at most this much of a value: hostile text cannot make it run for long.
MAX_MATCHED = 256


def _known_keyword(keyword: str) -> str:
    if keyword not in KEYWORDS:
        raise ValueError(f"{keyword} is not an attribute that is collected from headers")
    return keyword


def _safe_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if re.search(r"[+*}]\)?[+*{]", pattern):
        raise ValueError("nested or doubled repetition could run for ever; write it differently")
    return pattern


Keyword = Annotated[str, AfterValidator(_known_keyword)]
Pattern = Annotated[str, Field(max_length=MAX_PATTERN), AfterValidator(_safe_pattern)]


class Condition(Policy):
    """When a rule applies: everything given must hold for the rule's attribute.

    Attributes
    ----------
    missing
        The attribute is absent or empty (true), or has a value (false).
    longer_than
        The value has more characters than this.
    matches
        The whole value matches the regular expression.
    one_of
        The value is one of these.
    text_encoding
        The header's text is encoded so; see :func:`dicom_migration.header_facts.text_encoding`.
    modalities
        Modality (0008,0060) is one of these.
    """

    missing: bool | None = None
    longer_than: int | None = Field(default=None, ge=1)
    matches: Pattern | None = None
    one_of: tuple[str, ...] = ()
    text_encoding: tuple[Literal["utf-8", "8-bit"], ...] = ()
    modalities: tuple[str, ...] = ()

    def holds(self, value: str, header: Mapping[str, str]) -> bool:
        """Tell whether `value`, of a header with these values by keyword, fulfils all."""
        checks = (
            self.missing is None or self.missing is (value == ""),
            self.longer_than is None or len(value) > self.longer_than,
            self.matches is None or re.fullmatch(self.matches, value[:MAX_MATCHED]) is not None,
            not self.one_of or value in self.one_of,
            not self.text_encoding or header.get(TEXT_ENCODING, "") in self.text_encoding,
            not self.modalities or header.get("Modality", "") in self.modalities,
        )
        return all(checks)


class Replacement(Policy):
    """A regular expression and what its first match becomes."""

    pattern: Pattern
    by: str


class Operation(Policy):
    """How the new value is made; exactly one of these.

    Attributes
    ----------
    set
        This value.
    copy_from
        The first of these attributes that has a value.
    map
        What the value stands for; a value that is not listed stays.
    truncate
        Only so many characters.
    strip
        Without white space at both ends.
    replace
        With the match of a regular expression replaced.
    declare_charset
        Specific Character Set (0008,0005) that explains the bytes: ``ISO_IR 192`` when they are
        UTF-8, ``ISO_IR 100`` otherwise. The text's bytes stay.
    """

    set: str | None = None
    copy_from: tuple[Keyword, ...] = ()
    map: dict[str, str] = Field(default_factory=dict)
    truncate: int | None = Field(default=None, ge=1)
    strip: bool = False
    replace: Replacement | None = None
    declare_charset: bool = False

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = self.model_fields_set
        if len(given) != 1:
            raise ValueError("give exactly one operation")
        return self

    def result(self, value: str, header: Mapping[str, str]) -> str:
        """Return the new value; `value` itself when there is nothing to do."""
        (name,) = self.model_fields_set
        if name == "copy_from":
            return next((header[k] for k in self.copy_from if header.get(k)), value)
        if name == "declare_charset":
            return "ISO_IR 192" if header.get(TEXT_ENCODING) == "utf-8" else "ISO_IR 100"
        if name == "replace" and self.replace is not None:
            return re.sub(self.replace.pattern, self.replace.by, value[:MAX_MATCHED], count=1)
        simple = {
            "set": self.set or "",
            "map": self.map.get(value, value),
            "truncate": value[: self.truncate].rstrip(),
            "strip": value.strip(),
        }
        return simple[name]


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
        new = self.operation.result(value, header)
        return None if new == value else new

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
