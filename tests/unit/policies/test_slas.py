from __future__ import annotations

import pytest
from pydantic import ValidationError

from dicom_migration.policies.slas import SlaPolicy, SlaRule, load_sla_policy


def test_the_shipped_policy_restores_nothing_and_spares_the_source():
    policy = load_sla_policy()
    assert policy.archived.studies == 0
    assert not policy.busy_hour.source.enabled
    assert {rule.operation for rule in policy.rules} == {
        "first_image",
        "whole_study",
        "relevant_prior",
        "restore",
    }


def test_two_rules_of_one_name_are_refused():
    rule = SlaRule(name="twice", operation="first_image", percentile=95, seconds=1)
    with pytest.raises(ValidationError, match="same name"):
        SlaPolicy(rules=(rule, rule))
