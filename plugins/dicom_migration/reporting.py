"""Reports as one self-contained HTML file: no external assets, printable, values escaped."""

from __future__ import annotations

from typing import Any

from dicom_migration.policies import include_dir
from dicom_migration.units import human_bytes, human_seconds, money


def render_report(template: str, **values: Any) -> str:
    """Return the report that ``include/templates/<template>`` makes of `values`.

    Everything is HTML-escaped; an undefined name is an error. Callers pass counts, UIDs and
    policy names, never PHI.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(include_dir() / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = human_bytes
    environment.filters["seconds"] = human_seconds
    environment.filters["money"] = money
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment.get_template(template).render(**values)
