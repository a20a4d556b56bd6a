"""The image is not built here; its steps are."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
REHEARSAL = ROOT / ".ci" / "rehearse_dockerfile.py"


@pytest.fixture(scope="module")
def rehearsal() -> ModuleType:
    specification = importlib.util.spec_from_file_location("rehearse_dockerfile", REHEARSAL)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.system
def test_the_steps_of_the_dockerfile_lead_to_a_working_airflow() -> None:
    done = subprocess.run(
        [sys.executable, REHEARSAL], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok: ") == 4


def test_continuation_lines_and_comments_are_read_as_docker_reads_them(
    rehearsal: ModuleType,
) -> None:
    text = "# FROM nothing\nFROM a:1\n\nRUN one \\\n    # why\n    && two\nUSER root\n"
    assert list(rehearsal.instructions(text)) == [
        ("FROM", "a:1"),
        ("RUN", "one && two"),
        ("USER", "root"),
    ]


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("tests/unit/test_a.py", True),
        ("plugins/tests.py", False),
        ("plugins/a/__pycache__/b.pyc", True),
        (".env", True),
        ("include/policies/tiers.yaml", False),
    ],
)
def test_the_build_context_leaves_out_what_dockerignore_names(
    rehearsal: ModuleType, path: str, ignored: bool
) -> None:
    assert rehearsal.is_ignored(path, ["tests", ".env", "**/__pycache__"]) is ignored


def test_the_image_gets_what_runs_and_nothing_else(rehearsal: ModuleType) -> None:
    context = rehearsal.build_context(ROOT)
    assert {"requirements.txt", "pyproject.toml", "plugins/.airflowignore"} <= set(context)
    folders = {path.split("/")[0] for path in context}
    assert folders.isdisjoint({".git", ".ci", ".venv", "tests", "docs"})


def test_debian_packages_are_installed_when_packages_txt_names_some(
    rehearsal: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project, scratch = tmp_path / "project", tmp_path / "scratch"
    project.mkdir()
    scratch.mkdir()
    (project / "packages.txt").write_text("# why\nlibfirst\nlibsecond # and why\n")
    stage = rehearsal.Rehearsal(project, scratch)
    for keyword, argument in rehearsal.instructions((ROOT / "Dockerfile").read_text()):
        if stage.user == "root":
            stage.carry_out(keyword, argument)
    said = capfd.readouterr().out
    assert "apt-get install -y --no-install-recommends libfirst libsecond)" in said
