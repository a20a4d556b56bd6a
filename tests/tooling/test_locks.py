"""The locks are what an installation trusts: everything pinned, hashed, and from no fixed place."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.txt", "requirements-dev.txt"]


def locked(name: str) -> dict[str, list[tuple[Requirement, int]]]:
    """Return the pins of each name in a lock (one for each marker), each with its hash count."""
    joined = re.sub(r"\\\n", " ", (ROOT / name).read_text())
    pins: dict[str, list[tuple[Requirement, int]]] = {}
    for line in joined.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        pin = Requirement(requirement)
        good = [digest for digest in hashes if re.fullmatch(r"[0-9a-f]{64}", digest)]
        pins.setdefault(canonicalize_name(pin.name), []).append((pin, len(good)))
    return pins


def wanted(name: str) -> list[Requirement]:
    """Return what a requirements file asks for itself, without the files it includes."""
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_hashed(lock: str) -> None:
    for pins in locked(lock).values():
        for pin, hashes in pins:
            assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
            assert hashes, f"{pin} has no hash"
            assert pin.url is None, pin


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_or_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--(index|extra-index|find-links|trusted-host))", text, re.M)


@pytest.mark.parametrize("source", ["requirements.in", "requirements-dev.in"])
def test_what_is_asked_for_is_locked_at_a_version_that_fits(source: str) -> None:
    pins = locked(source.replace(".in", ".txt"))
    for requirement in wanted(source):
        for pin, _ in pins[canonicalize_name(requirement.name)]:
            version = next(iter(pin.specifier)).version
            assert requirement.specifier.contains(version, prereleases=True), pin


def test_development_runs_on_the_versions_that_are_shipped() -> None:
    shipped, development = locked(LOCKS[0]), locked(LOCKS[1])
    for name, pins in shipped.items():
        assert {str(pin) for pin, _ in pins} == {str(pin) for pin, _ in development[name]}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_exactly_one_version_of_a_package_is_locked_for_a_python(python: str) -> None:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    for name, pins in locked(LOCKS[1]).items():
        meant = [pin for pin, _ in pins if pin.marker is None or pin.marker.evaluate(environment)]
        assert len(meant) <= 1, f"{name}: {meant}"
