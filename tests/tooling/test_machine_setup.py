"""The scripts that prepare a machine do no harm, and say what they could not do."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / ".ci"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder that comes first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def write_program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def bash(*arguments: str | Path, first: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{first}:/usr/sbin:/usr/bin:/sbin:/bin"} | variables
    return subprocess.run(
        ["bash", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_an_old_python_is_passed_over_for_one_that_will_do(programs: Path) -> None:
    write_program(programs, "python3", "exit 1")
    write_program(programs, "python3.13", "exit 1")
    write_program(programs, "python3.12", "exit 0")
    done = bash(CI / "python", "python3", first=programs)
    assert done.stdout.strip() == str(programs / "python3.12")
    assert "using python3.12" in done.stderr


def test_the_python_that_is_asked_for_is_used(programs: Path) -> None:
    write_program(programs, "python3", "exit 0")
    done = bash(CI / "python", first=programs)
    assert done.stdout.strip() == str(programs / "python3")
    assert not done.stderr


def test_no_python_that_will_do_is_said_with_what_to_do(programs: Path) -> None:
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        write_program(programs, name, '[ "$1" = --version ] && echo Python 3.9.1 && exit 0; exit 1')
    done = bash(CI / "python", first=programs)
    assert done.returncode == 1
    assert "python3 is: Python 3.9.1" in done.stderr
    assert "make venv PYTHON=" in done.stderr


def without_root(programs: Path) -> None:
    write_program(programs, "id", "echo 1000")
    write_program(programs, "dpkg-query", "exit 1")
    write_program(programs, "apt-get", "echo not expected >&2; exit 99")


def test_missing_peers_are_named_and_forgiven_where_they_cannot_be_installed(
    programs: Path,
) -> None:
    without_root(programs)
    done = bash(CI / "peers", first=programs)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    for package in (
        "orthanc",
        "orthanc-dicomweb",
        "dcmtk",
        "dicom3tools",
        "postgresql",
        "chromium",
    ):
        assert package in done.stdout


def test_missing_peers_are_an_error_where_they_are_required(programs: Path) -> None:
    without_root(programs)
    assert bash(CI / "peers", first=programs, REQUIRE_PEERS="1").returncode == 1


def test_nothing_is_installed_or_said_when_every_peer_is_there(programs: Path) -> None:
    without_root(programs)
    write_program(programs, "dpkg-query", "echo installed")
    done = bash(CI / "peers", first=programs, REQUIRE_PEERS="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


INSTALL = 'set -eu; . "$0"; policy=$1; apt_install some-package || echo "failed: $?"'


@pytest.mark.parametrize("outcome", [0, 100])
@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 0\n"])
def test_daemons_stay_off_while_packages_are_installed_and_only_then(
    programs: Path, tmp_path: Path, outcome: int, before: str | None
) -> None:
    policy = tmp_path / "policy-rc.d"
    if before is not None:
        policy.write_text(before)
    # Stands for dpkg: asks the policy as invoke-rc.d would.
    write_program(
        programs,
        "apt-get",
        f'[ "$1" = update ] && exit 1; {policy}; echo "$?" >{tmp_path}/asked; exit {outcome}',
    )
    done = bash("-c", INSTALL, CI / "apt", policy, first=programs)
    assert (tmp_path / "asked").read_text().strip() == "101"
    assert (policy.read_text() if policy.exists() else None) == before
    assert ("failed" in done.stdout) == (outcome != 0)


def test_a_policy_that_a_killed_run_left_is_not_taken_for_somebody_elses(
    programs: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy-rc.d"
    write_program(programs, "apt-get", "kill -9 $PPID")
    bash("-c", INSTALL, CI / "apt", policy, first=programs)
    assert policy.exists()
    write_program(programs, "apt-get", "exit 0")
    bash("-c", INSTALL, CI / "apt", policy, first=programs)
    assert not policy.exists()


def test_a_test_that_misses_its_peer_is_skipped_with_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Debian package dcmtk"):
        require(None, "dcmtk")
    require("/usr/bin/storescp", "dcmtk")


def test_a_test_that_misses_its_peer_fails_where_peers_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="Debian package dcmtk"):
        require(available=False, what="dcmtk")


def test_the_whole_check_is_a_script_that_can_be_run() -> None:
    assert os.access(CI / "run", os.X_OK)
