"""A real Airflow (``airflow standalone``) with a home of its own, on loopback."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import ClassVar

import httpx

from include.demo.process_group import stop_group
from include.peers.process import PeerProcess, free_port

USER = "admin"
_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


class AirflowProcess(PeerProcess):
    """Starts and stops all of Airflow; `workdir` is its home: database, logs, password.

    Parameters
    ----------
    project
        The folder with ``dags/`` and ``plugins/``.
    environment
        Added to the environment of every task, for example connections.
    """

    name: ClassVar[str] = "airflow"
    startup_seconds: ClassVar[float] = 180.0

    def __init__(self, project: Path, workdir: Path, environment: dict[str, str]) -> None:
        super().__init__(workdir)
        self.project = project
        self.user = USER
        self._jwt_secret = secrets.token_urlsafe(48)
        self._log_ports = (free_port(), free_port())
        self._added = environment

    @property
    def url(self) -> str:
        """Root of the API server and of the UI."""
        return f"http://{self.host}:{self.port}"

    @property
    def password(self) -> str:
        """The password that Airflow generated for `user`."""
        passwords: dict[str, str] = json.loads(self._password_file.read_text())
        return passwords[USER]

    def stop(self) -> None:
        """Stop every process of it."""
        if self._process is not None:
            stop_group(self._process.pid)
            self._process.wait(timeout=30)
        self._process = None

    @property
    def _password_file(self) -> Path:
        return self.workdir / "passwords.json"

    def _command(self) -> list[str]:
        return [str(Path(sys.executable).with_name("airflow")), "standalone"]

    def _is_ready(self) -> bool:
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5.0).json()
        except (httpx.HTTPError, ValueError):
            return False
        return all((health.get(part) or {}).get("status") == "healthy" for part in _PARTS)

    def _environment(self) -> dict[str, str]:
        worker_log_port, trigger_log_port = self._log_ports
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "AIRFLOW_HOME": str(self.workdir),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.project / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.project / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._password_file),
            "AIRFLOW__API__HOST": self.host,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": self._jwt_secret,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **self._added,
        }
