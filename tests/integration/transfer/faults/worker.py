"""Works on shards in processes that may be killed: forked from one that has imported everything.

``python -m tests.integration.transfer.faults.worker`` reads a job a line from standard input, and
writes two lines for each: the process id when it begins, how it ended when it ends. A job that is
told so kills itself at one of the ledger's commits; whatever else kills it comes from outside.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
import pandas  # noqa: F401 - pyarrow would import it in every process
from sqlalchemy import Connection, create_engine, event

from dicom_migration.archive import ImageArchive
from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.s3_settings import S3Settings, create_client
from dicom_migration.ledger import Ledger
from dicom_migration.manifest import encode_manifest
from dicom_migration.transfer.shard_transfer import transfer_shard
from tests.integration.transfer.faults.migration import POLICY, SHARD

Job = dict[str, Any]


class Commits:
    """Counts the ledger's writing transactions, and kills this process before or after one."""

    def __init__(self, ledger: Ledger, die_before: int = -1, die_after: int = -1) -> None:
        self.count = 0
        self._die_before, self._die_after = die_before, die_after
        self._is_write = False
        dialect: Any = ledger.engine.dialect
        self._commit = dialect.do_commit
        dialect.do_commit = self._do_commit
        event.listen(ledger.engine, "commit", self._note)

    def _note(self, connection: Connection) -> None:
        self._is_write = bool(connection.get_execution_options().get("ledger_write"))

    def _do_commit(self, dbapi_connection: Any) -> None:
        if self._is_write and self.count == self._die_before:
            os.kill(os.getpid(), signal.SIGKILL)
        self._commit(dbapi_connection)
        if self._is_write and self.count == self._die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += self._is_write


def open_archive(source: dict[str, Any]) -> ImageArchive:
    """Open the source that a job names, as the operator does from a connection."""
    if "base_url" in source:
        return DicomWebArchive(DicomWebSettings(**source))
    return DimseArchive(DimseSettings(**source))


def work(job: Job, session: boto3.session.Session) -> dict[str, Any]:
    """Do what the operator does for one shard."""
    client = create_client(S3Settings(), session, endpoint_url=job["endpoint"])
    with (
        Ledger(job["ledger"]) as ledger,
        open_archive(job["source"]) as archive,
        S3Store(client, job["bucket"], job["prefix"]) as store,
    ):
        commits = Commits(ledger, **job.get("kill", {}))
        policy = POLICY.model_copy(update={"layout": job["layout"]})
        summary = transfer_shard(archive, store, ledger, SHARD, policy, last_try=False)
        return {"summary": summary, "commits": commits.count}


def _forked(job: Job, session: boto3.session.Session) -> None:
    """Work in a private temporary folder, and say at the end what came of it."""
    folder = Path(job["tmpdir"])
    os.environ["TMPDIR"] = job["tmpdir"]
    tempfile.tempdir = None
    os.chdir(folder)
    with Path(job["log"]).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    outcome = work(job, session)
    Path(job["outcome"]).write_text(json.dumps(outcome), encoding="utf-8")


def warm() -> boto3.session.Session:
    """Do once what every process would take seconds for; no thread and no connection is left."""
    encode_manifest([])
    session = boto3.session.Session(
        aws_access_key_id="AKIAEXAMPLEEXAMPLE00",
        aws_secret_access_key="example",
        region_name="us-east-1",
    )
    create_client(S3Settings(), session).close()
    for url in ("sqlite://", "postgresql+psycopg://"):
        create_engine(url)
    return session


def main() -> None:
    """Fork a process for each job, one at a time."""
    session = warm()
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _forked(job, session)
            sys.stdout.flush()
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
