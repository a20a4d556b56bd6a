"""DCMTK's image archive `dcmqrscp`, from the Debian package `dcmtk`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from include.peers.confinement import confine_to_loopback
from include.peers.dicom_header import NotIndexableError, read_header
from include.peers.load_report import LoadReport, files_in
from include.peers.part10_copy import copy_as_part10
from include.peers.process import PeerError, PeerProcess
from include.peers.verification import answers_echo

# Its index has room for this many; dcmqridx 3.6.7 corrupts its memory at the next one.
_MOST_STUDIES = 500
_FILES_A_CALL = 200
_REFUSED = re.compile(r"E: cannot load dicom file: (\S+)")
_CONFIGURATION = """\
NetworkTCPPort = {port}
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
{hosts}
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{ae_title} {storage} RW ({studies}, 1024mb) ANY
AETable END
"""


class Dcmqrscp(PeerProcess):
    """A dcmqrscp with one storage area.

    Parameters
    ----------
    workdir : Path
        Directory for the configuration, files, index and log.
    ae_title : str
        The AE title it answers to.
    move_destinations : mapping of str to (str, int), optional
        AE titles that C-MOVE may name, with host and port; read at start.
    port : int, optional
        Default: a free one.

    Attributes
    ----------
    is_confined : bool
        Whether the port is closed to the network; known after `start`. dcmqrscp listens on every
        interface unless the kernel lets us confine it (see `confinement.py`).

    Notes
    -----
    It holds at most 500 studies and sends uncompressed transfer syntaxes only: compressed images
    end as failed sub-operations. It has no study without instances: the empty study of the sample
    archive does not exist here. C-FIND cuts values to fixed lengths.
    """

    name: ClassVar[str] = "dcmqrscp"

    def __init__(
        self,
        workdir: Path,
        ae_title: str = "DCMQRSCP",
        move_destinations: Mapping[str, tuple[str, int]] | None = None,
        port: int | None = None,
    ) -> None:
        super().__init__(workdir, port)
        self.ae_title = ae_title
        self.move_destinations = dict(move_destinations or {})
        self.is_confined = False
        # Relative to the working directory: the index has room for 256 characters of a path.
        self._storage = Path("files")
        self._studies: set[str] = set()

    @classmethod
    def available(cls) -> bool:
        """Return whether `dcmqrscp` and `dcmqridx` are installed."""
        return all(shutil.which(program) for program in ("dcmqrscp", "dcmqridx"))

    def load(self, folder: Path) -> LoadReport:
        """Copy the folder's files into the storage and index them, before or after `start`."""
        if not self.available():
            raise PeerError("dcmqridx is not installed: Debian has it in the package dcmtk")
        (self.workdir / self._storage).mkdir(parents=True, exist_ok=True)
        report = LoadReport()
        copies: dict[str, Path] = {}
        first = sum(1 for _ in (self.workdir / self._storage).glob("*.dcm")) + 1
        for path in files_in(folder):
            copy = self._storage / f"{first + len(copies):08d}.dcm"
            try:
                self._copy(path, copy)
            except NotIndexableError as reason:
                report.skip(path, str(reason))
                continue
            copies[str(copy)] = path
        for refused in self._index(list(copies)):
            (self.workdir / refused).unlink()
            report.skip(copies.pop(refused), "dcmqridx cannot parse it")
        report.loaded = len(copies)
        report.bytes = sum(path.stat().st_size for path in copies.values())
        report.studies, report.instances = self._count()
        return report

    def _copy(self, path: Path, copy: Path) -> None:
        header = read_header(path)
        study = str(header.values["StudyInstanceUID"])
        if study not in self._studies and len(self._studies) == _MOST_STUDIES:
            raise NotIndexableError(f"dcmqrscp holds no more than {_MOST_STUDIES} studies")
        copy_as_part10(path, header, self.workdir / copy)
        self._studies.add(study)

    def _index(self, copies: list[str]) -> list[str]:
        """Enter the files into the index; return those that were refused."""
        refused: list[str] = []
        for start in range(0, len(copies), _FILES_A_CALL):
            output = self._dcmqridx(*copies[start : start + _FILES_A_CALL])
            refused += _REFUSED.findall(output)
        return refused

    def _count(self) -> tuple[int, int]:
        """Return the numbers of studies and instances in the index."""
        listing = self._dcmqridx("--print")
        studies = re.findall(r"^ +NumOfImages: ([1-9]\d*)", listing, re.MULTILINE)
        return len(studies), sum(map(int, studies))

    def _dcmqridx(self, *arguments: str) -> str:
        finished = subprocess.run(
            ["dcmqridx", str(self._storage), *arguments],
            cwd=self.workdir,
            capture_output=True,
            check=False,
        )
        # Values of the headers may be in any encoding, or in none.
        output = (finished.stdout + finished.stderr).decode("latin-1")
        if finished.returncode:
            raise PeerError(f"dcmqridx ended with {finished.returncode}: {output[-500:]}")
        return output

    def _prepare(self) -> None:
        (self.workdir / self._storage).mkdir(exist_ok=True)
        hosts = (
            f"destination{number} = ({ae_title}, {host}, {port})"
            for number, (ae_title, (host, port)) in enumerate(self.move_destinations.items())
        )
        text = _CONFIGURATION.format(
            port=self.port,
            hosts="\n".join(hosts),
            ae_title=self.ae_title,
            storage=self._storage,
            studies=_MOST_STUDIES,
        )
        self._config_path.write_text(text, encoding="ascii")

    @property
    def _config_path(self) -> Path:
        return self.workdir / "dcmqrscp.cfg"

    def _command(self) -> list[str]:
        return ["dcmqrscp", "--config", str(self._config_path)]

    def _environment(self) -> dict[str, str]:
        # Without it every instance waits 40 ms for Nagle's algorithm and a delayed ACK.
        return {"TCP_NODELAY": "1"}

    def _is_ready(self) -> bool:
        if self.pid is None or not answers_echo(self.host, self.port, self.ae_title):
            return False
        self.is_confined = confine_to_loopback(self.pid, self.port)
        return True
