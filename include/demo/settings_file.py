"""Reads ``airflow_settings.yaml``: the one place where connections, pools, variables are named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class AirflowSettings:
    """Bodies for Airflow's REST API (``/api/v2/connections``, ``/pools``, ``/variables``)."""

    connections: list[dict[str, Any]] = field(default_factory=list)
    pools: list[dict[str, Any]] = field(default_factory=list)
    variables: list[dict[str, Any]] = field(default_factory=list)


def read_settings(path: Path) -> AirflowSettings:
    """Return what the file names, as the REST API takes it."""
    content = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("airflow") or {}
    return AirflowSettings(
        connections=[_connection(entry) for entry in content.get("connections") or []],
        pools=[
            {
                "name": entry["pool_name"],
                "slots": int(entry["pool_slot"]),
                "description": entry.get("pool_description") or "",
                "include_deferred": False,
            }
            for entry in content.get("pools") or []
        ],
        variables=[
            {"key": entry["variable_name"], "value": str(entry["variable_value"])}
            for entry in content.get("variables") or []
        ],
    )


def _connection(entry: dict[str, Any]) -> dict[str, Any]:
    extra = entry.get("conn_extra") or {}
    body: dict[str, Any] = {
        "connection_id": entry["conn_id"],
        "conn_type": entry["conn_type"],
        "host": entry.get("conn_host"),
        "schema": entry.get("conn_schema"),
        "login": entry.get("conn_login"),
        "password": entry.get("conn_password"),
        "port": entry.get("conn_port"),
        "extra": extra if isinstance(extra, str) else json.dumps(extra),
    }
    return {key: value for key, value in body.items() if value not in (None, "")}
