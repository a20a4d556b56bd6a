"""Expectation suites as JSON files (``include/expectations``), read without Great Expectations."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies import include_dir


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Meaning(_Part):
    """What an expectation means to a person.

    Attributes
    ----------
    title
        The expectation as a sentence.
    reason_code
        Reason of the exception that a failing study gets.
    """

    title: str = Field(min_length=5)
    reason_code: ReasonCode
    suggested_fix: str = ""


class ExpectationSpec(_Part):
    """One expectation of a suite, in Great Expectations' own terms.

    `severity` ``critical`` keeps a failing study back, ``warning`` and ``info`` are reported.
    """

    type: str = Field(pattern=r"^expect_[a-z_]+$")
    kwargs: dict[str, Any]
    severity: Literal["critical", "warning", "info"]
    meta: Meaning


class Suite(_Part):
    """A suite and the rows it is for; all, when it names neither SOP classes nor modalities.

    `sop_classes` (UIDs) decide where a row's SOP class is known, `modalities` where it is not or
    where no SOP class is named: a report that calls itself CT is judged as a report. With `both`
    a row must have one of the modalities as well.
    """

    name: str
    description: str = ""
    sop_classes: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    both: bool = False
    expectations: tuple[ExpectationSpec, ...] = Field(min_length=1)


def load_suite(name: str) -> Suite:
    """Read the suite ``include/expectations/<name>.json``.

    Raises
    ------
    PermanentError
        With reason ``policy_invalid``, naming the file and the fault.
    """
    path = include_dir() / "expectations" / f"{name}.json"
    try:
        suite = Suite.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise _refused(path, "there is no such file") from None
    except json.JSONDecodeError as error:
        raise _refused(path, f"line {error.lineno}: {error.msg}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise _refused(path, f"field {field}: {fault['msg']}") from None
    if suite.name != name:
        raise _refused(path, f"field name: it is {suite.name!r}, the file is named {name!r}")
    return suite


def suite_names(prefix: str) -> list[str]:
    """Return the names of all suites that begin with `prefix`, sorted."""
    return sorted(path.stem for path in (include_dir() / "expectations").glob(f"{prefix}*.json"))


def suites_hash(names: list[str]) -> str:
    """Return a SHA-256 (hexadecimal) over the content of these suites."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(load_suite(name).model_dump_json().encode())
    return digest.hexdigest()


def _refused(path: Path, problem: str) -> PermanentError:
    return PermanentError(
        f"Expectation suite refused: {path.name}, {problem}.",
        reason=ReasonCode.POLICY_INVALID,
        next_step="Correct the file under include/expectations and run the task again.",
    )
