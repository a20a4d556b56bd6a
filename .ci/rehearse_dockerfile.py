"""Carry out the Dockerfile's steps without a container engine, then ask Airflow about the result.

The steps are read from the Dockerfile itself and run in its order, in a scratch folder: `COPY`
copies the build context (what git does not ignore, less .dockerignore), `RUN` runs in bash with
a fresh virtual environment in the place of the image's Python. What a folder cannot stand for is
replaced and said: the base image (any Python), its user (the one who runs this), and, in root's
steps, `apt-get` and `rm`, which only say what they were asked to do. `pip install` is answered by
`uv pip install`, which reads the same lock and checks the same hashes in seconds; `--pip` uses the
real one.

Afterwards, in the folder that the image would run in: the metadata database migrates, every DAG
file and every plugin imports, and every connection type that the project declares is known with
its hook. Exit status 0 says all of that.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# Drops what only makes sense for an image's layer, and keeps the rest of the command line.
PIP_BY_UV = """\
#!/bin/bash
arguments=()
for argument in "$@"; do
    [ "$argument" = --no-cache-dir ] || arguments+=("$argument")
done
exec '{uv}' --quiet pip "${{arguments[@]}}"
"""
STAND_IN = '#!/bin/sh\necho "    (not run: {name} $*)"\n'

DECLARED_TYPES = """\
import json
from dicom_migration.provider_info import get_provider_info
print(json.dumps({c["connection-type"]: c["hook-class-name"]
                  for c in get_provider_info()["connection-types"]}))
"""
PLUGIN_ERRORS = """\
import json
from airflow import plugins_manager
print(json.dumps(plugins_manager.get_import_errors()))
"""


class RehearsalError(Exception):
    """A step of the Dockerfile failed, or what it leads to is not what the project promises."""


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction's keyword and argument, lines joined and comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", "\n ", "\n".join(lines)).replace("\n ", " ").splitlines():
        keyword, _, argument = line.strip().partition(" ")
        if keyword:
            yield keyword.upper(), re.sub(r"\s+", " ", argument.strip())


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Tell whether a .dockerignore leaves `path` out, itself or by a folder above it."""
    parts = path.split("/")
    ancestors = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for pattern in patterns:
        if pattern.startswith("**/"):
            if any(fnmatch.fnmatch(part, pattern[3:]) for part in parts):
                return True
        elif any(fnmatch.fnmatch(ancestor, pattern.rstrip("/")) for ancestor in ancestors):
            return True
    return False


def build_context(root: Path) -> list[str]:
    """Return the files that `docker build` would be sent, relative to `root`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = sorted(set(filter(None, listed.stdout.split("\0"))))
    else:
        paths = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    ignore_file = root / ".dockerignore"
    lines = ignore_file.read_text().splitlines() if ignore_file.exists() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [path for path in paths if (root / path).is_file() and not is_ignored(path, patterns)]


class Rehearsal:
    """One pass through a Dockerfile in a scratch folder."""

    def __init__(self, root: Path, scratch: Path, *, real_pip: bool = False) -> None:
        self.root = root
        self.home = scratch / "airflow"
        self.home.mkdir()
        self.user = "root"
        self.workdir = self.home
        self.venv = scratch / "venv"
        self.stand_ins = scratch / "stand-ins"
        self.context = build_context(root)
        # What the base image brings.
        self.variables = {"AIRFLOW_HOME": str(self.home)}
        self.make_environment(scratch, real_pip=real_pip)

    def make_environment(self, scratch: Path, *, real_pip: bool) -> None:
        """Create the virtual environment and the programs that stand in for others."""
        arguments = ["-m", "venv"] if real_pip else ["-m", "venv", "--without-pip"]
        subprocess.run([sys.executable, *arguments, str(self.venv)], check=True)
        self.stand_ins.mkdir()
        for name in ("apt-get", "rm"):
            self.write_program(self.stand_ins / name, STAND_IN.format(name=name))
        self.path = [str(self.venv / "bin"), *os.defpath.split(":")]
        if not real_pip:
            uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
            if uv is None:
                raise RehearsalError("uv is not installed here: use --pip")
            pip_by_uv = scratch / "pip-by-uv"
            pip_by_uv.mkdir()
            self.write_program(pip_by_uv / "pip", PIP_BY_UV.format(uv=uv))
            self.path.insert(0, str(pip_by_uv))

    @staticmethod
    def write_program(path: Path, text: str) -> None:
        """Write an executable script."""
        path.write_text(text)
        path.chmod(0o755)

    def environment(self) -> dict[str, str]:
        """Return what a process of the image would see."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "PYTEST", "PYTHON"))
        }
        path = [str(self.stand_ins), *self.path] if self.user == "root" else self.path
        return inherited | self.variables | {"PATH": ":".join(path), "VIRTUAL_ENV": str(self.venv)}

    def carry_out(self, keyword: str, argument: str) -> None:
        """Carry out one instruction."""
        if keyword == "RUN":
            self.run(argument)
        elif keyword == "ARG":
            name, _, value = argument.partition("=")
            self.variables.setdefault(name, value)
        elif keyword == "ENV":
            for setting in argument.split(" "):
                name, _, value = setting.partition("=")
                self.variables[name] = self.expand(value)
        elif keyword == "USER":
            self.user = self.expand(argument)
        elif keyword == "WORKDIR":
            self.workdir = Path(self.expand(argument))
        elif keyword == "COPY":
            self.copy(argument)
        elif keyword not in {"FROM", "SHELL", "LABEL"}:
            raise RehearsalError(f"{keyword} is not rehearsed yet: add it to {Path(__file__).name}")

    def expand(self, text: str) -> str:
        """Replace ${NAME} by what ARG, ENV and the base image say."""
        return Template(text).substitute(self.variables)

    def copy(self, argument: str) -> None:
        """Copy a file of the build context, or all of it, into the working folder."""
        source, target = [word for word in argument.split(" ") if not word.startswith("--")]
        wanted = self.context if source == "." else [source]
        for path in wanted:
            if path not in self.context:
                raise RehearsalError(f"COPY {path}: not in the build context (see .dockerignore)")
            destination = self.workdir / self.expand(target) / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / path, destination)

    def run(self, command: str) -> None:
        """Run a command line as the image's shell would."""
        done = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", command],
            cwd=self.workdir,
            env=self.environment(),
            check=False,
        )
        if done.returncode != 0:
            raise RehearsalError(f"exit status {done.returncode}: RUN {command}")

    def ask(self, *command: str) -> str:
        """Run a program of the finished image and return what it prints."""
        done = subprocess.run(
            command,
            cwd=self.workdir,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            output = f"{done.stdout}\n{done.stderr}".strip()
            raise RehearsalError(f"exit status {done.returncode}: {' '.join(command)}\n{output}")
        return done.stdout

    def ask_json(self, *command: str) -> Any:
        """Run a program of the finished image and return the JSON it ends with, after its log."""
        return json.loads(self.ask(*command).strip().splitlines()[-1])

    def prove(self) -> Iterator[str]:
        """Check what the image is for; yield a line for each thing found good."""
        self.ask("airflow", "db", "migrate")
        yield "the metadata database migrates"
        self.ask("airflow", "dags", "reserialize")
        # Its exit status is 1 when it lists any.
        self.ask("airflow", "dags", "list-import-errors")
        names = sorted(path.name for path in self.home.glob("dags/*.py"))
        yield f"every DAG file imports and serializes: {', '.join(names) or 'there is none'}"
        errors = self.ask_json("python", "-c", PLUGIN_ERRORS)
        if errors:
            raise RehearsalError(f"plugins that fail to import: {errors}")
        yield "every plugin imports"
        declared = self.ask_json("python", "-c", DECLARED_TYPES)
        hooks = self.ask_json("airflow", "providers", "hooks", "--output", "json")
        known = {hook["connection_type"]: hook["class"] for hook in hooks}
        for connection_type, hook_class in declared.items():
            if known.get(connection_type) != hook_class:
                found = known.get(connection_type, "nothing")
                raise RehearsalError(f"{connection_type}: {hook_class} declared, {found} found")
        yield f"every connection type is known: {', '.join(declared)}"


def rehearse(root: Path, scratch: Path, *, real_pip: bool) -> None:
    """Carry out every instruction of `root`'s Dockerfile, then prove the result."""
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)

    rehearsal = Rehearsal(root, scratch, real_pip=real_pip)
    for keyword, argument in instructions((root / "Dockerfile").read_text()):
        say(f"{keyword} {argument}")
        rehearsal.carry_out(keyword, argument)
    for line in rehearsal.prove():
        say(f"ok: {line}")


def main() -> int:
    """Rehearse the Dockerfile of this project."""
    parser = argparse.ArgumentParser(description="Rehearse the Dockerfile without an engine.")
    parser.add_argument("--pip", action="store_true", help="install with pip, not with uv")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project (default: this one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dockerfile-rehearsal-") as scratch:
        try:
            rehearse(arguments.root.resolve(), Path(scratch), real_pip=arguments.pip)
        except RehearsalError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
