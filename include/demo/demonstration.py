"""The demonstration from the first file to the table at the end."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dicom_migration.ledger import Ledger
from include.demo.airflow_api import AirflowApi
from include.demo.airflow_process import AirflowProcess
from include.demo.certificate_check import check, make_key
from include.demo.endpoints import Endpoint, merged, open_source, open_target
from include.demo.errors import DemoError
from include.demo.progress import DAGS, Watch, wait_for_dags
from include.demo.reports import MANIFESTS, download_reports
from include.demo.running import remember, stop_all
from include.demo.settings_file import read_settings
from include.demo.summary import as_table, is_complete, summarise
from include.sample_archive.build import build

PROJECT = Path(__file__).resolve().parents[2]
DEMO_DIR = PROJECT / ".demo"


class Demonstration:
    """One run; `home` holds all it writes, `say` takes its lines."""

    def __init__(self, home: Path, say: Callable[[str], None]) -> None:
        self.home = home
        self.say = say
        self.started = time.monotonic()

    def run(self, archive_dir: str | None, pacs: str, timeout_s: float) -> int:
        """Migrate the sample archive, or the files of `archive_dir`; return the exit code.

        0 only when every study ended verified, excluded by a named rule, or quarantined with a
        reason.
        """
        self._clean()
        archive = self._archive(archive_dir)
        source = self._open("source", lambda: open_source(self.home / "source", archive, pacs))
        target = self._open("target", lambda: open_target(self.home / "target"))
        ledger_path = self.home / "ledger" / "ledger.db"
        airflow = AirflowProcess(
            PROJECT, self.home / "airflow", {"DICOM_MIGRATION_INCLUDE": str(PROJECT / "include")}
        )
        self.say("Starting Airflow …")
        airflow.start(detach=True)
        remember(self.home, "airflow", airflow.pid or 0)
        self.say(f"Airflow: {airflow.url}  user {airflow.user}  password {airflow.password}")
        api = AirflowApi(airflow.url, airflow.user, airflow.password)
        api.sign_in()
        self._write_endpoints(airflow, source, target, ledger_path)
        self._load_settings(api, source, target, ledger_path)
        with Ledger(f"sqlite:///{ledger_path}") as ledger:
            return self._migrate(api, ledger, target, timeout_s)

    def _migrate(self, api: AirflowApi, ledger: Ledger, target: Endpoint, timeout_s: float) -> int:
        wait_for_dags(api)
        for dag in DAGS:
            api.unpause(dag)
        api.trigger("discovery")
        watch = Watch(api, ledger, self.say)
        try:
            watch.until_done(timeout_s)
        finally:
            # also when a run failed: what was reached is worth knowing
            summary = summarise(ledger, watch.states, time.monotonic() - self.started)
            (self.home / "summary.json").write_text(json.dumps(summary, indent=2))
        reports = download_reports(ledger, target, self.home / "reports")
        self._tell(summary, reports)
        return 0 if is_complete(summary) and self._certificates_hold() else 1

    def _certificates_hold(self) -> bool:
        """Check the newest certificate as somebody would who has nothing but files."""
        folder = self.home / "reports"
        issued = sorted(folder.glob("certificate-*.json"), key=lambda file: file.stat().st_mtime)
        if not issued:
            return True  # the target is not ours: its reports were left where they are
        holds, command = check(issued[-1], folder / MANIFESTS, self.home / "keys")
        self.say(f"  Checked by: {command}")
        return holds

    def _clean(self) -> None:
        stopped = stop_all(self.home)
        if stopped:
            self.say(f"Stopped what an earlier demonstration had left running: {stopped}")
        for name in ("source", "target", "airflow", "ledger", "reports", "keys"):
            shutil.rmtree(self.home / name, ignore_errors=True)
        for name in ("summary.json", "endpoints.json"):
            (self.home / name).unlink(missing_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)

    def _archive(self, archive_dir: str | None) -> Path:
        if archive_dir:
            folder = Path(archive_dir).expanduser().absolute()
            if not folder.is_dir():
                raise DemoError(f"ARCHIVE_DIR={archive_dir}: there is no such folder.")
            return folder
        folder = self.home / "archive"
        shutil.rmtree(folder, ignore_errors=True)
        index = build(folder)
        self.say(
            f"Sample archive: {len(index.studies)} studies, {index.instances} instances, "
            f"{index.bytes / 1e6:.0f} MB"
        )
        return folder

    def _open(self, name: str, opening: Callable[[], Endpoint]) -> Endpoint:
        endpoint = opening()
        if endpoint.peer is not None:
            remember(self.home, name, endpoint.peer.pid or 0)
        self.say(endpoint.note[0].upper() + endpoint.note[1:])
        return endpoint

    def _write_endpoints(
        self, airflow: AirflowProcess, source: Endpoint, target: Endpoint, ledger: Path
    ) -> None:
        content = {
            "airflow": {"url": airflow.url, "user": airflow.user, "password": airflow.password},
            "s3": target.facts,
            "pacs": source.facts,
            "ledger": f"sqlite:///{ledger}",
        }
        file = self.home / "endpoints.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(content, indent=2))

    def _load_settings(
        self, api: AirflowApi, source: Endpoint, target: Endpoint, ledger: Path
    ) -> None:
        settings = read_settings(PROJECT / "airflow_settings.yaml")
        changes: dict[str, dict[str, Any]] = {
            "pacs_source": source.connection,
            "cloud_target": target.connection,
            "migration_ledger": {"host": str(ledger)},
        }
        for connection in settings.connections:
            name = connection["connection_id"]
            api.put_resource("connections", name, merged(connection, changes.get(name, {})))
        signing = {
            "connection_id": "certificate_signing",
            "conn_type": "generic",
            "extra": json.dumps({"key_file": str(make_key(self.home / "keys"))}),
        }
        api.put_resource("connections", "certificate_signing", signing)
        for pool in settings.pools:
            api.put_resource("pools", pool["name"], pool)
        for variable in settings.variables:
            api.put_resource("variables", variable["key"], variable)

    def _tell(self, summary: dict[str, Any], reports: list[str]) -> None:
        self.say(f"\n{as_table(summary)}\n")
        for report in reports:
            self.say(f"  Report: {_short(report)}")
        self.say(f"  For machines: {_short(str(self.home / 'summary.json'))}, endpoints.json")
        if os.environ.get("KEEP"):
            endpoints = json.loads((self.home / "endpoints.json").read_text())["airflow"]
            self.say(
                f"  Look: {endpoints['url']}  user {endpoints['user']}  "
                f"password {endpoints['password']}"
            )


def _short(path: str) -> str:
    return os.path.relpath(path) if path.startswith("/") else path
