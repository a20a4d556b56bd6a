"""Alerts go out by whatever the Variable names, and one channel's failure stops no other."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from structlog.testing import capture_logs

from dicom_migration.errors import TransientError
from dicom_migration.notifications.alert import MigrationAlert

KEYS = {"aws_access_key_id": "AKIAEXAMPLEEXAMPLE00", "aws_secret_access_key": "example"}


class Mailbox(socketserver.ThreadingTCPServer):
    """A real SMTP server, as small as one can be: keeps what it is sent."""

    allow_reuse_address = True

    def __init__(self) -> None:
        self.received: list[str] = []
        super().__init__(("127.0.0.1", 0), _Session)


class _Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            word = line[:4].upper()
            if word == "DATA":
                self._say("354 go on")
                self.server.received.append(self._message())
                self._say("250 kept")
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _message(self) -> str:
        lines = []
        while (line := self.rfile.readline().decode()) != ".\r\n":
            lines.append(line)
        return "".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def context() -> Any:
    task = SimpleNamespace(dag_id="transfer", task_id="preflight", run_id="r1", try_number=1)
    return {"ti": task, "exception": TransientError("The source is down."), "dag": None}


def configure(monkeypatch: pytest.MonkeyPatch, channels: dict[str, Any]) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_MIGRATION_ALERTS", json.dumps(channels))


def test_without_channels_the_alert_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    configure(monkeypatch, {})
    with capture_logs() as lines:
        MigrationAlert().notify(context)
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert "The source is down." in str(line)


def test_it_goes_out_by_sns_and_by_smtp(
    monkeypatch: pytest.MonkeyPatch, context: Any, aws: str, mailbox: Mailbox
) -> None:
    sns = boto3.client("sns", endpoint_url=aws, region_name="us-east-1", **KEYS)
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    connection = {
        "conn_type": "aws",
        "login": KEYS["aws_access_key_id"],
        "password": KEYS["aws_secret_access_key"],
        "extra": {"endpoint_url": aws, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ALERT_AWS", json.dumps(connection))
    host, port = mailbox.server_address[:2]
    smtp = {
        "conn_type": "smtp",
        "host": host,
        "port": port,
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.org"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ALERT_SMTP", json.dumps(smtp))
    configure(
        monkeypatch,
        {
            "sns": {"aws_conn_id": "alert_aws", "target_arn": topic, "region_name": "us-east-1"},
            "smtp": {"smtp_conn_id": "alert_smtp", "to": ["pacs-team@example.org"]},
        },
    )
    MigrationAlert().notify(context)
    (mail,) = mailbox.received
    assert "transfer.preflight failed" in mail
    from moto.backends import get_backend

    (account,) = get_backend("sns").keys()
    sent = get_backend("sns")[account]["us-east-1"].topics[topic].sent_notifications
    assert len(sent) == 1


def test_a_channel_that_fails_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, context: Any, mailbox: Mailbox
) -> None:
    host, port = mailbox.server_address[:2]
    smtp = {
        "conn_type": "smtp",
        "host": host,
        "port": port,
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.org"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ALERT_SMTP", json.dumps(smtp))
    configure(
        monkeypatch,
        {
            "pigeon": {},
            "smtp": {"smtp_conn_id": "alert_smtp", "to": ["pacs-team@example.org"]},
        },
    )
    MigrationAlert().notify(context)
    assert len(mailbox.received) == 1
