"""Orthanc, an open-source PACS with DIMSE and DICOMweb, from the Debian package `orthanc`."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, ClassVar

from include.peers.confinement import confine_to_loopback
from include.peers.dicom_header import begins_like_dicom
from include.peers.load_report import LoadReport, files_in
from include.peers.process import LOOPBACK, PeerError, PeerProcess, free_port, is_listening
from include.peers.verification import answers_echo

_PLUGIN = "libOrthancDicomWeb.so"
_PLUGIN_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/local/share/orthanc/plugins"))
_UPLOADS = 4
_BLOCK_BYTES = 1024 * 1024


class Orthanc(PeerProcess):
    """An Orthanc with an empty store.

    Parameters
    ----------
    workdir : Path
        Directory for the configuration, index, files and log.
    ae_title : str
        The AE title it answers to; any other is accepted too.
    move_destinations : mapping of str to (str, int), optional
        AE titles that C-MOVE may name, with host and port; see `add_move_destination`.
    port : int, optional
        The DICOM port. Default: a free one.

    Attributes
    ----------
    http_port : int
        The REST port.
    is_confined : bool
        Whether both ports are closed to the network; known after `start`. Orthanc 1.10 listens
        on every interface: REST refuses other hosts by itself, DICOM serves them unless the
        kernel lets us confine it (see `confinement.py`).

    Notes
    -----
    It sends the stored bytes as they are, never transcoded. It has no study without instances:
    the empty study of the sample archive does not exist here. It refuses files that it cannot
    parse to the end, and keeps two files of one SOP Instance UID if their patient, study or
    series differ.
    """

    name: ClassVar[str] = "orthanc"

    def __init__(
        self,
        workdir: Path,
        ae_title: str = "ORTHANC",
        move_destinations: Mapping[str, tuple[str, int]] | None = None,
        port: int | None = None,
    ) -> None:
        super().__init__(workdir, port)
        self.ae_title = ae_title
        self.move_destinations = dict(move_destinations or {})
        self.http_port = free_port()
        self.is_confined = False

    @classmethod
    def available(cls) -> bool:
        """Return whether the program `Orthanc` is installed."""
        return _program() is not None

    @classmethod
    def dicomweb_available(cls) -> bool:
        """Return whether the DICOMweb plugin is installed (Debian package `orthanc-dicomweb`)."""
        return _plugin() is not None

    @property
    def url(self) -> str:
        """Root of the REST API, without a slash at the end."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Root of the DICOMweb services, without a slash at the end."""
        if not self.dicomweb_available():
            raise PeerError(f"{_PLUGIN} is not installed: Orthanc offers no DICOMweb")
        return f"{self.url}/dicom-web"

    def add_move_destination(self, ae_title: str, host: str, port: int) -> None:
        """Let C-MOVE name `ae_title` from now on, in a running Orthanc too."""
        self.move_destinations[ae_title] = (host, port)
        if self.is_alive:
            body = json.dumps([ae_title, host, port])
            connection = HTTPConnection(self.host, self.http_port, timeout=10)
            connection.request("PUT", f"/modalities/{ae_title}", body)
            answer = connection.getresponse()
            if answer.status != 200:
                raise PeerError(f"Orthanc refuses the move destination {ae_title}: {answer.reason}")

    def load(self, folder: Path) -> LoadReport:
        """Upload the folder's files as they are; a refusal is reported and stops nothing."""
        if not self.is_alive:
            raise PeerError("start Orthanc before loading it")
        report = LoadReport()
        connections = threading.local()

        def upload(path: Path) -> tuple[Path, str | None]:
            return path, self._upload(path, connections)

        with ThreadPoolExecutor(_UPLOADS) as pool:
            for path, refusal in pool.map(upload, files_in(folder)):
                if refusal is None:
                    report.loaded += 1
                    report.bytes += path.stat().st_size
                else:
                    report.skip(path, refusal)
        statistics = self._get("/statistics")
        report.studies = int(statistics["CountStudies"])
        report.instances = int(statistics["CountInstances"])
        return report

    def _upload(self, path: Path, connections: threading.local) -> str | None:
        """Send one file over the thread's own connection; return why it was refused, if it was."""
        connection = getattr(connections, "connection", None)
        if connection is None:
            connection = HTTPConnection(
                self.host, self.http_port, timeout=120, blocksize=_BLOCK_BYTES
            )
            connections.connection = connection
        try:
            # A ZIP would be unpacked, and a film would fill Orthanc's memory.
            if not begins_like_dicom(path):
                return "not a DICOM file"
            with path.open("rb") as content:
                headers = {"Content-Length": str(path.stat().st_size)}
                connection.request("POST", "/instances", content, headers)
                answer = connection.getresponse()
                return _refusal(answer.status, answer.read())
        except (OSError, HTTPException) as error:
            connection.close()
            return f"upload failed ({type(error).__name__})"

    def _get(self, path: str) -> dict[str, Any]:
        connection = HTTPConnection(self.host, self.http_port, timeout=10)
        connection.request("GET", path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer

    def _prepare(self) -> None:
        if is_listening(self.http_port):
            self.http_port = free_port()
        # It ignores what it does not know: options of newer versions do no harm.
        text = json.dumps(dict(self._configuration()), indent=1)
        self._config_path.write_text(text, encoding="utf-8")

    def _configuration(self) -> Iterator[tuple[str, Any]]:
        yield from _SETTINGS.items()
        yield "DicomAet", self.ae_title
        yield "DicomPort", self.port
        yield "HttpPort", self.http_port
        yield "StorageDirectory", str(self.workdir / "files")
        yield "IndexDirectory", str(self.workdir / "index")
        destinations = {
            ae_title: [ae_title, host, port]
            for ae_title, (host, port) in self.move_destinations.items()
        }
        yield "DicomModalities", destinations
        plugin = _plugin()
        if plugin:
            yield "Plugins", [str(plugin)]

    @property
    def _config_path(self) -> Path:
        return self.workdir / "orthanc.json"

    def _command(self) -> list[str]:
        return [_program() or "Orthanc", str(self._config_path)]

    def _environment(self) -> dict[str, str]:
        # Without it every instance waits 40 ms for Nagle's algorithm and a delayed ACK.
        return {"TCP_NODELAY": "1"}

    def _is_ready(self) -> bool:
        if self.pid is None or not answers_echo(self.host, self.port, self.ae_title):
            return False
        dicom = confine_to_loopback(self.pid, self.port)
        rest = confine_to_loopback(self.pid, self.http_port)
        self.is_confined = dicom and rest
        try:
            return "Version" in self._get("/system")
        except (OSError, HTTPException, ValueError):
            return False


_SETTINGS: dict[str, Any] = {
    "Name": "sample",
    "HttpBindAddresses": [LOOPBACK],
    "RemoteAccessAllowed": False,
    "AuthenticationEnabled": False,
    "KeepAlive": True,
    "DicomCheckCalledAet": False,
    "DicomAlwaysAllowEcho": True,
    "DicomAlwaysAllowStore": True,
    "DicomAlwaysAllowFind": True,
    "DicomAlwaysAllowGet": True,
    "DicomAlwaysAllowMove": True,
    "DicomScpTimeout": 120,
    "UnknownSopClassAccepted": True,
    # An archive gives back what it got: no transcoding, no compression, the first file wins.
    "TranscodeDicomProtocol": False,
    "StorageCompression": False,
    "OverwriteInstances": False,
    # Durability is of no use here, and an fsync a file is slow.
    "SyncStorageArea": False,
    "SaveJobs": False,
    "ExecuteLuaEnabled": False,
    "WebDavEnabled": False,
    "OrthancExplorerEnabled": False,
    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
}


def _refusal(status: int, body: bytes) -> str | None:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if status != 200:
        reason = answer.get("Details") or answer.get("Message") or "no reason given"
        if reason == "Inexistent tag":
            reason = "lacks an identifying attribute, or is a DICOMDIR"
        return f"refused with HTTP {status}: {reason}"
    if answer.get("Status") == "AlreadyStored":
        return "stored already under the same patient, study, series and SOP Instance UID"
    return None


def _program() -> str | None:
    return shutil.which("Orthanc", path=None) or shutil.which("Orthanc", path="/usr/sbin")


def _plugin() -> Path | None:
    return next((f / _PLUGIN for f in _PLUGIN_FOLDERS if (f / _PLUGIN).exists()), None)
