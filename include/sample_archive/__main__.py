"""Command line: ``python -m include.sample_archive OUT [--seed N] [--small]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from include.sample_archive import SampleDataMissingError, build


def main(arguments: list[str] | None = None) -> int:
    """Build the archive and print what it holds; return 1 if it cannot be built."""
    parser = argparse.ArgumentParser(
        prog="python -m include.sample_archive",
        description="Build the sample DICOM archive: a small hospital's history with its defects.",
    )
    parser.add_argument("out", type=Path, help="directory to build in: new, empty or built before")
    parser.add_argument("--seed", type=int, default=7, help="equal seeds give equal bytes (7)")
    parser.add_argument("--small", action="store_true", help="a dozen studies, for quick tests")
    options = parser.parse_args(arguments)
    try:
        index = build(options.out, options.seed, "small" if options.small else "full")
    except (FileExistsError, SampleDataMissingError) as problem:
        print(f"cannot build the sample archive: {problem}", file=sys.stderr)
        return 1
    print(
        f"{len(index.studies)} studies, {index.instances} instances, "
        f"{index.bytes / 1e6:.0f} MB, {len(index.planted)} planted defects in {options.out}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
