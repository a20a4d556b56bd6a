"""Reading policy files: YAML into pydantic models, errors with file, line and field."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from dicom_migration.errors import PermanentError, ReasonCode

INCLUDE_VARIABLE = "DICOM_MIGRATION_INCLUDE"


class Policy(BaseModel):
    """Base of every policy model: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


PolicyT = TypeVar("PolicyT", bound=BaseModel)


def include_dir() -> Path:
    """Return the folder of policies, suites and templates.

    The environment variable ``DICOM_MIGRATION_INCLUDE`` names it; by default it is ``include/``
    beside ``plugins/``, as in the project's own layout.
    """
    named = os.environ.get(INCLUDE_VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parents[3] / "include"


def load_policy(model: type[PolicyT], path: Path) -> PolicyT:
    """Read one YAML policy file into `model`.

    Raises
    ------
    PermanentError
        With reason ``policy_invalid``; the message names file, line and field of every fault.
    """
    text = _read(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "not YAML"
        raise _invalid(f"{path.name}, line {line}: {problem}") from None
    if (twice := _first_key_given_twice(node)) is not None:
        raise _invalid(f"{path.name}, line {twice.start_mark.line + 1}: a key is given twice")
    try:
        return model.model_validate({} if data is None else data)
    except ValidationError as error:
        faults = [
            f"{path.name}, line {_line_of(node, fault['loc'])}, "
            f"field {'.'.join(str(part) for part in fault['loc']) or '(file)'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise _invalid("; ".join(faults)) from None


def policy_hash(*models: BaseModel) -> str:
    """Return a SHA-256 (hexadecimal) over the content of policies, whatever their layout."""
    digest = hashlib.sha256()
    for model in models:
        digest.update(model.model_dump_json().encode())
    return digest.hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _invalid(f"{path}: there is no such policy file") from None
    except UnicodeDecodeError:
        raise _invalid(f"{path.name}, line 1: the file is not UTF-8 text") from None


def _invalid(problem: str) -> PermanentError:
    return PermanentError(
        f"Policy refused: {problem}.",
        reason=ReasonCode.POLICY_INVALID,
        next_step="Correct the file under include/policies and run the task again.",
    )


def _first_key_given_twice(root: Any) -> Any:
    """Return the node of a key that its mapping has already; YAML's loader would take the last."""
    waiting, met = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in met or not isinstance(node, yaml.CollectionNode):
            continue
        met.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            waiting += node.value
            continue
        keys: set[Any] = set()
        for key, value in node.value:
            if str(key.value) in keys:
                return key
            keys.add(str(key.value))
            waiting.append(value)
    return None


def _line_of(node: Any, location: tuple[Any, ...]) -> int:
    """Return the 1-based line of the deepest part of `location` that the file contains."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in location:
        child = _child(node, part)
        if child is None:
            break
        key, node = child
        line = key.start_mark.line + 1
    return line


def _child(node: Any, part: Any) -> tuple[Any, Any] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((k, v) for k, v in node.value if k.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
