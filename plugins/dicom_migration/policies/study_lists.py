"""Lists of studies that a policy names by file: one Study Instance UID a line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies.loading import Policy
from dicom_migration.uids import is_valid_uid


class ListedStudies(Policy):
    """What can name studies: UIDs in the policy itself, or a file beside it.

    Attributes
    ----------
    study_instance_uids
        These studies.
    study_list
        Name of a text file in the policy's folder: one UID a line, ``#`` begins a comment. What
        it holds is read into `study_instance_uids`.
    """

    study_instance_uids: tuple[str, ...] = ()
    study_list: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$")


ListedT = TypeVar("ListedT", bound=ListedStudies)


def with_list(listed: ListedT, folder: Path) -> ListedT:
    """Return `listed` with the studies of its file, if it names one, among its UIDs.

    Raises
    ------
    PermanentError
        With reason ``policy_invalid``; the message names file and line.
    """
    if listed.study_list is None:
        return listed
    uids = [*listed.study_instance_uids, *_read_list(folder / listed.study_list)]
    return listed.model_copy(update={"study_instance_uids": tuple(dict.fromkeys(uids))})


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise _invalid(f"{path.name}: there is no such file beside the policy") from None
    except UnicodeDecodeError:
        raise _invalid(f"{path.name}, line 1: the file is not UTF-8 text") from None
    uids = []
    for number, line in enumerate(lines, start=1):
        uid = line.partition("#")[0].strip()
        if not uid:
            continue
        if not is_valid_uid(uid):
            # Not quoted: what stands in its place may be a patient's identifier.
            raise _invalid(f"{path.name}, line {number}: this is not a Study Instance UID")
        uids.append(uid)
    if not uids:
        raise _invalid(f"{path.name}, line 1: the file names no study")
    return uids


def _invalid(problem: str) -> PermanentError:
    return PermanentError(
        f"Policy refused: {problem}.",
        reason=ReasonCode.POLICY_INVALID,
        next_step="Correct the file under include/policies and run the task again.",
    )
