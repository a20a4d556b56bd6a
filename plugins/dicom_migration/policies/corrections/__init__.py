"""Correction rules: what may be changed in a header, when, to what, and by whose authority.

``include/cleansing/rules.yaml``. A rule carries examples, and is refused when it does not do
what its examples say; so a rule is tested wherever it is loaded.
"""

from dicom_migration.policies.corrections.attributes import KEYWORDS
from dicom_migration.policies.corrections.rules import (
    CorrectionRule,
    Example,
    RuleSet,
    load_ruleset,
)

__all__ = ["KEYWORDS", "CorrectionRule", "Example", "RuleSet", "load_ruleset"]
