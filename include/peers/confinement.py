"""Confine a server that cannot be told an address to the loopback interface.

Orthanc and DCMTK listen on every interface, and Debian ships them at versions with known
vulnerabilities. Linux lets a parent take a duplicate of its child's listening socket and bind it
to a device; from then on connections from elsewhere meet a closed port.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import socket
from pathlib import Path

# One number on every architecture (Linux 5.6, pidfd_getfd(2)).
_PIDFD_GETFD = 438
_LISTENING = "0A"
_LOG = logging.getLogger(__name__)


def confine_to_loopback(pid: int, port: int) -> bool:
    """Bind the sockets on which process `pid` listens at `port` to the loopback interface.

    Returns
    -------
    bool
        False if the kernel does not let us (not Linux, older than 5.7, or a container without
        the right to trace): the port then stays open to the network.
    """
    inodes = _listening_inodes(port)
    confined = 0
    with contextlib.suppress(OSError, AttributeError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", _target(descriptor))
            if match and match[1] in inodes:
                _bind_to_loopback(pid, int(descriptor.name))
                confined += 1
    if not confined:
        _LOG.warning(
            "port %d of process %d is open to the network: it cannot be confined", port, pid
        )
    return confined > 0


def _bind_to_loopback(pid: int, descriptor: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        duplicate = libc.syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
        if duplicate < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
    finally:
        os.close(pidfd)
    with socket.socket(fileno=duplicate) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")


def _listening_inodes(port: int) -> set[str]:
    """Return the inodes of the machine's sockets that listen at `port`."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.add(columns[9])
    return inodes


def _target(descriptor: Path) -> str:
    with contextlib.suppress(OSError):
        return str(descriptor.readlink())
    return ""
