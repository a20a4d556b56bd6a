"""Policies: what an operator decides in YAML (``include/policies``), validated with pydantic."""

from dicom_migration.policies.loading import Policy, include_dir, load_policy, policy_hash

__all__ = ["Policy", "include_dir", "load_policy", "policy_hash"]
