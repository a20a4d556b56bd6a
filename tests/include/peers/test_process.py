"""A peer process starts when it answers, explains why it does not, and leaves nothing behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from include.peers.confinement import confine_to_loopback
from include.peers.process import (
    LOOPBACK,
    PeerError,
    PeerProcess,
    free_port,
    is_listening,
    is_running,
    stop_process,
    wait_until,
)

SERVE = """
import socket, sys, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen()
print("listening", flush=True)
while True:
    listener.accept()[0].close()
"""


class Listener(PeerProcess):
    name = "listener"
    startup_seconds = 10.0
    program = SERVE

    def _command(self) -> list[str]:
        return [sys.executable, "-c", self.program, LOOPBACK, str(self.port)]

    def _is_ready(self) -> bool:
        return True


class Failing(Listener):
    program = "import sys; sys.exit('no licence')"


class Mute(Listener):
    startup_seconds = 0.5
    program = "import time; time.sleep(60)"


def test_the_port_is_open_inside_the_context_and_closed_after_it(tmp_path: Path) -> None:
    with Listener(tmp_path / "work") as peer:
        pid = peer.pid
        assert pid
        assert is_listening(peer.port)
        assert "listening" in peer.log_tail()
    assert not is_listening(peer.port)
    assert not is_running(pid)
    assert peer.pid is None


def test_a_peer_starts_again_on_the_same_port(tmp_path: Path) -> None:
    peer = Listener(tmp_path).start()
    port = peer.port
    peer.stop()
    with peer:
        assert peer.port == port


def test_the_reason_of_a_failed_start_is_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"ended within(.|\n)*no licence"):
        Failing(tmp_path).start()


def test_a_peer_that_never_listens_is_ended(tmp_path: Path) -> None:
    peer = Mute(tmp_path)
    with pytest.raises(PeerError, match="does not answer"):
        peer.start()
    assert peer.pid is None


def test_a_strangers_server_is_not_taken_for_the_peer(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as stranger:
        peer = Listener(tmp_path, port=stranger.getsockname()[1])
        with pytest.raises(PeerError, match="another server listens"):
            peer.start()


def test_a_detached_peer_outlives_its_parent_and_is_stopped_by_pid(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from tests.include.peers.test_process import Listener;"
        "peer = Listener(Path(sys.argv[1])).start(detach=True); print(peer.pid, peer.port)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    pid, port = map(int, finished.stdout.split())
    try:
        assert is_listening(port)
    finally:
        stop_process(pid)
    assert not is_listening(port)
    stop_process(pid)


def test_a_server_on_every_interface_is_confined_to_loopback(tmp_path: Path) -> None:
    outside = own_address()
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", SERVE, "", str(port)])
    try:
        assert wait_until(lambda: is_listening(port), 10)
        if not confine_to_loopback(server.pid, port):
            pytest.skip("the kernel does not let us take a duplicate of the child's socket")
        assert is_listening(port)
        if outside:
            assert not is_listening(port, outside)
    finally:
        server.kill()
        server.wait()


def own_address() -> str | None:
    """Return an address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])
