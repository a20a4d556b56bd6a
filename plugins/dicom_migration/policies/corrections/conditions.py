"""When a rule applies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from dicom_migration.header_facts import TEXT_ENCODING
from dicom_migration.policies.corrections.attributes import Keyword
from dicom_migration.policies.corrections.patterns import Pattern, full_match
from dicom_migration.policies.loading import Policy


class ValueTest(Policy):
    """What a value must be: everything given must hold.

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
    """

    missing: bool | None = None
    longer_than: int | None = Field(default=None, ge=1)
    matches: Pattern | None = None
    one_of: tuple[str, ...] = ()

    def accepts(self, value: str) -> bool:
        """Tell whether `value` fulfils all."""
        return all(
            (
                self.missing is None or self.missing is (value == ""),
                self.longer_than is None or len(value) > self.longer_than,
                self.matches is None or full_match(self.matches, value),
                not self.one_of or value in self.one_of,
            )
        )


class Condition(ValueTest):
    """When a rule applies: everything given must hold; the tests are of the rule's attribute.

    Attributes
    ----------
    text_encoding
        The header's text is encoded so; see :func:`dicom_migration.header_facts.text_encoding`.
    modalities
        Modality (0008,0060) is one of these.
    where
        Tests of other attributes, by keyword: of the site, say, by InstitutionName.
    """

    text_encoding: tuple[Literal["utf-8", "8-bit", "declared"], ...] = ()
    modalities: tuple[str, ...] = ()
    where: dict[Keyword, ValueTest] = Field(default_factory=dict)

    def holds(self, value: str, header: Mapping[str, str]) -> bool:
        """Tell whether `value`, of a header with these values by keyword, fulfils all."""
        return (
            self.accepts(value)
            and (not self.text_encoding or header.get(TEXT_ENCODING, "") in self.text_encoding)
            and (not self.modalities or header.get("Modality", "") in self.modalities)
            and all(test.accepts(header.get(word, "")) for word, test in self.where.items())
        )
