"""The sample archives, built once for all tests of `include`."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.sample_archive import build


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole sample archive."""
    out = tmp_path_factory.mktemp("archive") / "full"
    build(out)
    return out


@pytest.fixture(scope="session")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small sample archive."""
    out = tmp_path_factory.mktemp("archive") / "small"
    build(out, scale="small")
    return out
