"""How thoroughly the cloud copy is verified (``include/policies/verification.yaml``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dicom_migration.policies.lifecycle import Transitions
from dicom_migration.policies.loading import Policy, include_dir, load_policy

MIB = 1024**2


class ReadBack(Policy):
    """Which objects are read back and hashed.

    ``all`` reads every object; ``sample`` a seeded `fraction` of each study, at least one;
    ``metadata`` none: the store's own checksum is compared instead, which proves less.

    Of what is read the object's SHA-256 and the identity in its header are compared for every
    instance; of a seeded share of them, `look_into`, also what the transfer claims of the inside:
    the hash of the dataset received, or of the pixels stored, and of the range in a packed object.
    """

    mode: Literal["all", "sample", "metadata"] = "all"
    fraction: float = Field(default=0.1, gt=0, le=1)
    look_into: float = Field(default=0.1, gt=0, le=1)
    seed: int = 20250101

    @property
    def label(self) -> str:
        """Name the method as the ledger and the certificate do."""
        if self.mode == "sample":
            return f"sample:{self.fraction:g}"
        return {"all": "read_back", "metadata": "checksum"}[self.mode]


class PixelAudit(Policy):
    """The image-quality audit: decoded pixels of source and cloud, compared exactly.

    The sample is large enough to see, with `confidence`, one defect when at least `defect_rate`
    of the instances are defective; defects that are found enlarge it; `max_instances` caps it.
    Instances above `max_instance_mib` (MiB, stored or received) are left out and counted.
    """

    enabled: bool = True
    defect_rate: float = Field(default=0.05, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    max_instances: int = Field(default=500, ge=1)
    max_instance_mib: int = Field(default=256, ge=1)
    seed: int = 20250101


class HeaderAudit(Policy):
    """The header audit of the same sample: every attribute of source and cloud.

    `ignore` lists tags (``GGGGEEEE``) that this source rewrites each time it sends an instance.
    """

    enabled: bool = True
    ignore: tuple[Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{8}$")], ...] = ()

    @property
    def tags(self) -> frozenset[int]:
        """Return the ignored tags as numbers."""
        return frozenset(int(tag, 16) for tag in self.ignore)


class AuditReport(Policy):
    """The page of the audit. Images may show names that are burned into their pixels (PHI).

    ``none`` renders no image, ``not_burned_in`` those whose Burned In Annotation (0028,0301) is NO
    in both copies, ``all`` any: whoever may open the report may then see patients' names.
    """

    renderings: Literal["none", "not_burned_in", "all"] = "none"
    max_renderings: int = Field(default=12, ge=1, le=100)


class VerificationPolicy(Policy):
    """What the verification DAG does, how much at once, and when it gives up.

    `lifecycle_transitions` names the moves that the bucket's own lifecycle rules may make: the
    class that the plan chose, and the classes in which its objects may be found as well.
    """

    read_back: ReadBack = ReadBack()
    pixel_audit: PixelAudit = PixelAudit()
    header_audit: HeaderAudit = HeaderAudit()
    audit_report: AuditReport = AuditReport()
    lifecycle_transitions: Transitions = Field(default_factory=dict)
    read_threads: int = Field(default=8, ge=1, le=64)
    spool_mib: int = Field(default=32, ge=1)
    studies_per_shard: int = Field(default=200, ge=1)
    max_shards: int = Field(default=500, ge=1, le=1000)
    max_redrives: int = Field(default=2, ge=0)
    max_notes_per_study: int = Field(default=20, ge=1)
    rows_per_part: int = Field(default=250_000, ge=1000)
    completeness_suite: str = "manifest"


def load_verification_policy() -> VerificationPolicy:
    """Read ``verification.yaml``."""
    return load_policy(VerificationPolicy, include_dir() / "policies" / "verification.yaml")
