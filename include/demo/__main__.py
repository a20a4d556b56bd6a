"""``python -m include.demo`` runs the demonstration, ``python -m include.demo stop`` ends it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from include.demo.demonstration import DEMO_DIR, Demonstration
from include.demo.errors import DemoError
from include.demo.running import stop_all
from include.peers.process import PeerError


def main(arguments: list[str]) -> int:
    """Run or stop; return the exit code."""
    home = Path(os.environ.get("DEMO_DIR") or DEMO_DIR).absolute()
    if arguments == ["stop"]:
        stopped = stop_all(home)
        print(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing was running.")
        return 0
    if arguments:
        print(__doc__)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` stops what runs
    keep = os.environ.get("KEEP", "") not in ("", "0")
    demonstration = Demonstration(home, say=lambda line: print(line, flush=True))
    try:
        return demonstration.run(
            archive_dir=os.environ.get("ARCHIVE_DIR") or None,
            pacs=os.environ.get("PACS") or "qrscp",
            timeout_s=float(os.environ.get("DEMO_TIMEOUT") or 3600),
        )
    except (DemoError, PeerError, OSError) as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    finally:
        if keep:
            print("Everything is still running; `make demo-stop` ends it.")
        else:
            stop_all(home)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
