"""The lists of patients and orders, where the operators of cleansing need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_migration.cleansing.proposals import Correction
    from dicom_migration.ledger import Ledger


def read_lists(ledger: Ledger) -> dict[str, int]:
    """Read the lists of ``identity.yaml`` that changed; returns the entries of each.

    Raises
    ------
    PermanentError
        ``policy_invalid``, naming file and line.
    """
    from dicom_migration.cleansing.list_loading import load_lists
    from dicom_migration.policies.identity import load_identity_policy

    return load_lists(ledger, load_identity_policy())


def reconciled(
    ledger: Ledger, wave_id: str, sha256: str, found: list[Correction]
) -> list[Correction]:
    """Return what rules (`found`) and lists propose for the wave, by the lists of now."""
    from dicom_migration.cleansing.reconciling import reconcile_wave
    from dicom_migration.policies.identity import load_identity_policy

    read_lists(ledger)
    return reconcile_wave(ledger, wave_id, load_identity_policy(), sha256, found)


def hash_of_lists() -> str:
    """Return what an approval is bound to beside rules and suites; "" when there are no lists."""
    from dicom_migration.cleansing.list_loading import lists_hash
    from dicom_migration.policies.identity import load_identity_policy

    return lists_hash(load_identity_policy())
