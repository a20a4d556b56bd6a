"""Which columns of a frame a suite looks at, so that no other one is read, held or copied."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from dicom_migration.quality.suites import Suite, load_suite

_WORD = re.compile(r"\w+")


def columns_of(suite: Suite) -> set[str]:
    """Return every word of the suite's arguments: the columns it judges are among them.

    An expectation names its columns in its arguments, a ``row_condition`` among them; what is
    named nowhere is not there when it judges.
    """
    told = json.dumps([spec.kwargs for spec in suite.expectations], default=str)
    return set(_WORD.findall(told))


def columns_of_suites(names: Iterable[str]) -> set[str]:
    """Return what :func:`columns_of` says of all these suites."""
    return set().union(*(columns_of(load_suite(name)) for name in names))
