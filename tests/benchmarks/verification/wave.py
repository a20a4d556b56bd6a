"""A wave of synthetic studies in the bucket, and the same files in a folder, for the peer."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import boto3
from sqlalchemy import update

from dicom_migration.archive.folder import FolderArchive, FolderSettings
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.s3_settings import S3Settings, create_client
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shard_transfer import transfer_shard
from dicom_migration.transfer.shards import Shard
from tests.benchmarks.transfer.data import DataSet, write
from tests.benchmarks.transfer.ends import place
from tests.benchmarks.transfer.ours import WAVE, check_all_transferred, fresh_ledger
from tests.benchmarks.transfer.rclone_server import RcloneS3


class ReadingS3(RcloneS3):
    """A server without ETags: else it hashes every file for each GET and each listing.

    No object store does; on both sides most of the time would be the server's MD5.
    """

    options: ClassVar[tuple[str, ...]] = ("--etag-hash", "")


@dataclass(frozen=True)
class TransferredWave:
    """What both sides read: a prefix of the bucket, and a folder that holds the same files."""

    data: DataSet
    layout: str
    s3: RcloneS3
    workdir: Path

    @property
    def prefix(self) -> str:
        """Prefix in the bucket."""
        return self.layout

    @property
    def source(self) -> Path:
        """The instances as the source holds them."""
        return self.workdir / "files"

    @property
    def local(self) -> Path:
        """A copy of everything below the prefix."""
        return self.workdir / "local"

    @property
    def stored_bytes(self) -> int:
        """Bytes of the objects below the prefix, manifests included."""
        return sum(path.stat().st_size for path in self.local.rglob("*") if path.is_file())

    def fresh_ledger(self, name: str) -> Path:
        """Return a copy of the ledger as the transfer left it."""
        copy = self.workdir / f"{name}.db"
        shutil.copyfile(self.workdir / "ledger.db", copy)
        return copy


@contextlib.contextmanager
def transferred_wave(data: DataSet, layout: str) -> Iterator[TransferredWave]:
    """Transfer `data` from a folder into an S3 server that runs as long as the context."""
    with tempfile.TemporaryDirectory(prefix="bench-verification-", dir=place(data)) as name:
        workdir = Path(name)
        write(data, workdir / "files")
        with ReadingS3(workdir / "rclone") as s3:
            wave = TransferredWave(data, layout, s3, workdir)
            _transfer(wave)
            # Links, not copies: the peer reads the same pages twice, which is no worse for it.
            stored = s3.root / "bucket" / wave.prefix
            shutil.copytree(stored, wave.local, copy_function=os.link)
            yield wave


@contextlib.contextmanager
def opened_store(
    endpoint_url: str, access_key: str, secret_key: str, prefix: str
) -> Iterator[S3Store]:
    """Open the bucket below `prefix`; rclone ignores If-None-Match."""
    settings = S3Settings(require_conditional_create=False)
    session = boto3.session.Session(access_key, secret_key, region_name="us-east-1")
    client = create_client(settings, session, endpoint_url=endpoint_url)
    with S3Store(client, "bucket", prefix, settings) as store:
        yield store


def _transfer(wave: TransferredWave) -> None:
    url = f"sqlite:///{wave.workdir / 'ledger.db'}"
    fresh_ledger(url, wave.data, 1)
    s3 = wave.s3
    with (
        Ledger(url) as ledger,
        FolderArchive(FolderSettings(wave.source)) as archive,
        opened_store(s3.endpoint_url, s3.access_key, s3.secret_key, wave.prefix) as store,
    ):
        policy = TransferPolicy.model_validate({"layout": wave.layout})
        transfer_shard(archive, store, ledger, Shard(WAVE, 0), policy, last_try=True)
        with ledger.write() as connection:  # in one piece, and closed: it will be copied
            connection.execute(update(schema.wave).values(state="transferred"))
    check_all_transferred(url, wave.data)
