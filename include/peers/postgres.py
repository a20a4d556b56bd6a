"""A PostgreSQL server with an empty database, from the Debian package `postgresql`."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from include.peers.process import LOOPBACK, PeerError, PeerProcess

_DEBIAN = Path("/usr/lib/postgresql")
# Nothing here survives a power cut, and nothing has to.
_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres(PeerProcess):
    """A database server of our own; password authentication over loopback TCP only.

    Parameters
    ----------
    workdir : Path
        Directory for the log and, unless we are root, for the data.
    database : str
        Name of the database to create.
    port : int, optional
        Default: a free one.

    Attributes
    ----------
    data_directory : Path or None
        Where the data lie. `stop` keeps them, `remove` and leaving the context remove them; who
        leaves a detached server behind has to remove them too.

    Notes
    -----
    PostgreSQL refuses to run as root. Then it runs as the system user ``postgres`` or ``nobody``,
    and its data lie in a directory of their own in ``/tmp``, because that user may not be able to
    reach `workdir`.
    """

    name: ClassVar[str] = "postgres"
    # SIGINT is the fast shutdown; SIGTERM would wait for clients to leave.
    stop_signal: ClassVar[int] = signal.SIGINT

    def __init__(self, workdir: Path, database: str = "ledger", port: int | None = None) -> None:
        super().__init__(workdir, port)
        self.database = database
        self.user = "migration"
        self.password = secrets.token_hex(16)
        self.data_directory: Path | None = None

    @classmethod
    def available(cls) -> bool:
        """Return whether the server's programs are installed."""
        return _programs() is not None

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database, with the password."""
        return (
            f"postgresql+psycopg://{self.user}:{self.password}"
            f"@{self.host}:{self.port}/{self.database}"
        )

    def remove(self) -> None:
        """Stop the server and remove its data; a later start begins with an empty database."""
        self.stop()
        if self.data_directory is not None:
            shutil.rmtree(self.data_directory, ignore_errors=True)
            self.data_directory = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def _prepare(self) -> None:
        if self.data_directory is None:
            self.data_directory = self._create_cluster()

    def _create_cluster(self) -> Path:
        account = _account()
        root = Path("/tmp") if account else self.workdir  # noqa: S108 - mkdtemp makes the name
        data = Path(tempfile.mkdtemp(prefix="postgres-", dir=root))
        with tempfile.NamedTemporaryFile("w", dir=data.parent) as password_file:
            password_file.write(self.password)
            password_file.flush()
            if account:
                os.chown(data, account.pw_uid, account.pw_gid)
                os.chown(password_file.name, account.pw_uid, account.pw_gid)
            self._run(
                *("initdb", "--pgdata", str(data), "--username", self.user),
                *("--auth", "scram-sha-256", "--pwfile", password_file.name),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            )
        return data

    def _command(self) -> list[str]:
        settings = {
            **_SETTINGS,
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            # No socket file: its path may not exceed 107 characters, which working directories do.
            "unix_socket_directories": "",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [_program("postgres"), "-D", str(self.data_directory), *options]

    def _identity(self) -> dict[str, Any]:
        account = _account()
        if account is None:
            return {}
        return {
            "user": account.pw_uid,
            "group": account.pw_gid,
            "extra_groups": [],
            "cwd": str(self.data_directory),
        }

    def _is_ready(self) -> bool:
        if self._client("pg_isready").returncode:
            return False
        created = self._client("createdb", self.database)
        return created.returncode == 0 or b"already exists" in created.stderr

    def _client(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        connection = ("-h", self.host, "-p", str(self.port), "-U", self.user)
        return subprocess.run(
            [_program(program), *connection, *arguments],
            env={**os.environ, "PGPASSWORD": self.password},
            capture_output=True,
            check=False,
        )

    def _run(self, program: str, *arguments: str) -> None:
        account = _account()
        identity: dict[str, Any] = {}
        if account:
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        finished = subprocess.run(
            [_program(program), *arguments],
            cwd="/",
            capture_output=True,
            check=False,
            **identity,
        )
        if finished.returncode:
            output = finished.stderr.decode("utf-8", "replace")
            raise PeerError(f"{program} ended with {finished.returncode}:\n{output}")


def _account() -> pwd.struct_passwd | None:
    """Return the user to run as, or None for the one we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PeerError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _programs() -> Path | None:
    """Return the directory of the server's programs, the newest version that is installed."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    versions = [path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=_version, default=None)


def _version(path: Path) -> int:
    digits = re.sub(r"\D", "", path.parent.name)
    return int(digits or 0)


def _program(name: str) -> str:
    directory = _programs()
    if directory is None:
        raise PeerError("PostgreSQL is not installed: Debian has it in the package postgresql")
    return str(directory / name)
