"""What phases know of a judgement by a suite, whoever judged; no phase imports another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class JudgedFinding(Protocol):
    """One expectation's outcome; see :class:`dicom_migration.quality.Finding`."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def reason_code(self) -> str: ...  # noqa: D102
    @property
    def severity(self) -> str: ...  # noqa: D102
    @property
    def evaluated(self) -> int: ...  # noqa: D102
    @property
    def unexpected(self) -> int: ...  # noqa: D102
    @property
    def suggested_fix(self) -> str: ...  # noqa: D102
    @property
    def keys(self) -> Sequence[tuple[str, ...]]: ...  # noqa: D102


class Judgement(Protocol):
    """One suite's outcome; see :class:`dicom_migration.quality.QualityResult`."""

    @property
    def suite(self) -> str: ...  # noqa: D102
    @property
    def findings(self) -> Sequence[JudgedFinding]: ...  # noqa: D102
