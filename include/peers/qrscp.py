"""pynetdicom's query/retrieve server: a PACS that every machine with this project can run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import ClassVar

from include.peers.load_report import LoadReport
from include.peers.process import LOOPBACK, PeerProcess
from include.peers.qrscp_store import QrscpStore
from include.peers.verification import answers_echo


class Qrscp(PeerProcess):
    """``python -m pynetdicom qrscp`` with its own database and storage directory.

    Parameters
    ----------
    workdir : Path
        Directory for the configuration, database, files and log.
    ae_title : str
        The AE title it answers to.
    move_destinations : mapping of str to (str, int), optional
        AE titles that C-MOVE may name, with host and port. They are read at start: an address
        that changes needs a restart.
    port : int, optional
        Default: a free one.

    Notes
    -----
    What a client must be prepared for, all of it seen in hospitals too:

    - C-FIND returns one response an *instance* that matches, on every level: the same study comes
      as often as it has images.
    - Attributes other than the database's columns are silently left out of responses.
    - A file that cannot be read ends the whole C-GET or C-MOVE with status C421 or C521.
    - C-GET offers only the storage classes that pynetdicom knows; C-MOVE proposes private ones.
    - Ten associations at a time; one more is rejected as transient.
    """

    name: ClassVar[str] = "qrscp"

    def __init__(
        self,
        workdir: Path,
        ae_title: str = "QRSCP",
        move_destinations: Mapping[str, tuple[str, int]] | None = None,
        port: int | None = None,
    ) -> None:
        super().__init__(workdir, port)
        self.ae_title = ae_title
        self.move_destinations = dict(move_destinations or {})
        self.store = QrscpStore(self.workdir)

    def load(self, folder: Path) -> LoadReport:
        """Put the folder's files into the storage and the database, before or after `start`.

        The files are copied byte for byte: what a client retrieves is what the folder had, not
        what a C-STORE made of it. See `QrscpStore.load`.
        """
        return self.store.load(folder)

    def _prepare(self) -> None:
        self.store.create()
        config = ConfigParser(interpolation=None)
        # It reads the file with interpolation: a % in a path has to be doubled.
        config["DEFAULT"] = {
            "ae_title": self.ae_title,
            "port": str(self.port),
            "bind_address": LOOPBACK,
            "max_pdu": "262144",
            "acse_timeout": "30",
            "dimse_timeout": "120",
            "network_timeout": "300",
            # Absolute: it resolves relative paths against its own package.
            "instance_location": str(self.store.files).replace("%", "%%"),
            "database_location": str(self.store.database).replace("%", "%%"),
            "log_identifier": "False",
        }
        for ae_title, (host, port) in self.move_destinations.items():
            config[ae_title] = {"address": host, "port": str(port)}
        with self._config_path.open("w", encoding="utf-8") as file:
            config.write(file)

    @property
    def _config_path(self) -> Path:
        return self.workdir / "qrscp.ini"

    def _command(self) -> list[str]:
        # Never -v or -d: the level that shows requests shows their identifiers, which are PHI.
        return [sys.executable, "-m", "pynetdicom", "qrscp", "-c", str(self._config_path)]

    def _environment(self) -> dict[str, str]:
        # pydicom's warnings quote the values they complain about.
        return {"PYTHONWARNINGS": "ignore"}

    def _is_ready(self) -> bool:
        return answers_echo(self.host, self.port, self.ae_title)
