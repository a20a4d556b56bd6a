"""What the demonstration left running, so that ``make demo-stop`` can end it, by pid."""

from __future__ import annotations

import json
from pathlib import Path

from include.demo.process_group import stop_group

FILE_NAME = "running.json"


def remember(home: Path, name: str, pid: int) -> None:
    """Note a process group that is to be stopped later."""
    running = recall(home)
    running[name] = {"pid": pid, "started": _start_ticks(pid)}
    (home / FILE_NAME).write_text(json.dumps(running, indent=2))


def recall(home: Path) -> dict[str, dict[str, int]]:
    """Return what was noted, the first started first."""
    file = home / FILE_NAME
    if not file.exists():
        return {}
    noted: dict[str, dict[str, int]] = json.loads(file.read_text())
    return noted


def stop_all(home: Path) -> list[str]:
    """Stop everything noted, the last started first; return the names that still ran.

    A pid that meanwhile belongs to another process (its start time differs) is left alone.
    """
    stopped = []
    for name, process in reversed(list(recall(home).items())):
        if process["started"] and _start_ticks(process["pid"]) == process["started"]:
            stop_group(process["pid"])
            stopped.append(name)
    (home / FILE_NAME).unlink(missing_ok=True)
    return stopped


def _start_ticks(pid: int) -> int:
    """Return when the process started (clock ticks since boot), 0 when it is gone.

    Where there is no ``/proc`` (macOS), 1 stands for "it exists".
    """
    if not Path("/proc/self/stat").exists():
        return 1
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
