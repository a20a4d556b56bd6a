"""What every test may use."""

import os
from pathlib import Path

import pytest


def require(available: object, what: str) -> None:
    """Skip the test unless `available` is true; fail instead when REQUIRE_PEERS=1.

    Parameters
    ----------
    available
        Anything; its truth counts, so that `shutil.which(...)` can be handed over as it is.
    what
        The Debian package that brings what is missing.
    """
    if available:
        return
    message = f"needs the Debian package {what} (`make peers` installs it as root)"
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message, allow_module_level=True)


@pytest.fixture(scope="session")
def session_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that lives as long as the test session: for a peer that many tests share."""
    return tmp_path_factory.mktemp("session")
