"""Which lists identities and orders are checked against: ``include/policies/identity.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dicom_migration.policies.corrections import KEYWORDS
from dicom_migration.policies.loading import Policy, include_dir, load_policy

#: Ids under which corrections name the list they come from, as they name a rule.
PATIENTS_RULE, ORDERS_RULE = "master-patient-list", "ris-order-list"
#: What an order may change; who the patient is, is for the master patient list to say.
ORDER_KEYWORDS = frozenset(
    {
        "AccessionNumber",
        "InstitutionName",
        "ReferringPhysicianName",
        "StudyDate",
        "StudyDescription",
        "StudyID",
        "StudyTime",
    }
)
_KEY_KEYWORDS = KEYWORDS | {"StudyInstanceUID"}


def _one_of_the_keys(keyword: str) -> str:
    if keyword not in _KEY_KEYWORDS:
        raise ValueError(f"{keyword} is not an attribute that is collected from headers")
    return keyword


def _one_an_order_changes(keyword: str) -> str:
    if keyword not in ORDER_KEYWORDS:
        raise ValueError(f"{keyword} is not for an order to change: {sorted(ORDER_KEYWORDS)}")
    return keyword


KeyKeyword = Annotated[str, AfterValidator(_one_of_the_keys)]
OrderKeyword = Annotated[str, AfterValidator(_one_an_order_changes)]


class ListFile(Policy):
    """A file that another system wrote.

    Attributes
    ----------
    file
        Its path; a relative one is taken from the folder of the policies.
    encoding
        ``utf-8`` (with or without byte-order mark) or ``latin-1``.
    delimiter
        Between the fields of a CSV file.
    """

    file: Path
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)

    @property
    def path(self) -> Path:
        """Return where the file is."""
        return self.file if self.file.is_absolute() else include_dir() / "policies" / self.file


class PatientColumns(Policy):
    """What the columns of a CSV file are called; "" for one that it has not."""

    old_id: str = "old_id"
    old_issuer: str = ""
    surviving_id: str = "surviving_id"
    surviving_issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""


class PatientList(ListFile):
    """The master patient list: which identifier became which.

    Attributes
    ----------
    issuers
        What the list calls an assigning authority, and the Issuer of Patient ID (0010,0021) it
        stands for; one that is not listed stands for itself.
    cross_checks
        What must not differ between the header and the list where both say something.
    least_agreeing
        How many of those must be there and agree; with fewer, a person decides.
    """

    format: Literal["csv", "fhir", "hl7"] = "csv"
    columns: PatientColumns = PatientColumns()
    issuers: dict[str, str] = Field(default_factory=dict)
    cross_checks: tuple[Literal["name", "birth_date", "sex"], ...] = ("name", "birth_date", "sex")
    least_agreeing: int = Field(default=1, ge=0, le=3)

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.least_agreeing > len(set(self.cross_checks)):
            raise ValueError("least_agreeing asks for more than cross_checks compares")
        return self


class OrderList(ListFile):
    """The orders of the information system, found by key.

    Attributes
    ----------
    columns
        What the column of an attribute is called, by DICOM keyword; else it has its name.
    key
        Attributes that together find the order of a study.
    fill, correct
        Attributes that are taken from the order where the header has none, and always.
    """

    columns: dict[str, str] = Field(default_factory=dict)
    key: tuple[KeyKeyword, ...] = Field(default=("StudyInstanceUID",), min_length=1)
    fill: tuple[OrderKeyword, ...] = ()
    correct: tuple[OrderKeyword, ...] = ()

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        taken = {*self.fill, *self.correct}
        if not taken:
            raise ValueError("the list is for nothing: name attributes under fill or correct")
        if taken & set(self.key):
            raise ValueError("an attribute cannot be found by itself: it is in key and taken")
        return self


class IdentityPolicy(Policy):
    """The lists; None: there is none."""

    patients: PatientList | None = None
    orders: OrderList | None = None


def load_identity_policy(path: Path | None = None) -> IdentityPolicy:
    """Read the policy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(IdentityPolicy, path or include_dir() / "policies" / "identity.yaml")
