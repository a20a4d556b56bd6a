"""A storage SCP that lives only while a C-MOVE runs: where the source sends the instances.

Sources open one association or many, one after another or in parallel; each has a thread here,
and the receiver takes one instance at a time. Source: DICOM PS3.4 Annex B (storage service).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from dicom_migration.archive.association_accept import LandingRules, accept_association
from dicom_migration.archive.dimse_association import Association, ReleasedByPeerError
from dicom_migration.archive.dimse_command import CommandField, Field, number
from dicom_migration.archive.dimse_connection import landing_context
from dicom_migration.archive.dimse_settings import DimseSettings, TlsSettings
from dicom_migration.archive.dimse_store import SinkStoppedError, receive_instance
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.archive.pdu_stream import PduStream
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError

log = logging.getLogger(__name__)

_ACCEPT_POLL_S = 0.2
_BIND_POLL_S = 0.2


class Landing:
    """Listens on the landing address from entry to exit of the context.

    Waits for the port when another retrieval on this machine listens there.

    Parameters
    ----------
    settings
        The source, whose sub-operations are expected.
    receiver
        Where the instances go; shared by all associations.

    Attributes
    ----------
    port
        The port that is listened on.
    errors
        Why associations of senders were refused or broke, oldest first.
    """

    def __init__(self, settings: DimseSettings, receiver: InstanceReceiver) -> None:
        self.errors: list[MigrationError] = []
        self._settings = settings
        self._receiver = receiver
        self._rules = LandingRules(
            ae_title=settings.destination,
            sender=settings.called_ae_title if settings.landing_check_calling_ae else "",
            max_pdu_bytes=settings.max_pdu_bytes,
            acse_timeout_s=settings.acse_timeout_s,
        )
        tls = settings.landing_tls if settings.landing_tls is not None else bool(settings.tls)
        self._tls = landing_context(settings.tls or TlsSettings()) if tls else None
        self._streams: set[PduStream] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._last_activity = time.monotonic()
        self._listener = _listen(settings)
        self.port = int(self._listener.getsockname()[1])

    @property
    def quiet_s(self) -> float:
        """Return for how many seconds no byte has arrived from any sender."""
        connected = [stream.last_activity for stream in tuple(self._streams)]
        return time.monotonic() - max([self._last_activity, *connected])

    def __enter__(self) -> Self:
        """Begin to accept associations."""
        self._start(self._accept_all)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the port and cut whatever is still connected; no thread outlives it."""
        self._closing.set()
        with contextlib.suppress(OSError):  # wakes accept() at once where the system allows it
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for stream in tuple(self._streams):
            stream.close()
        for thread in self._threads:
            # As long as it takes: an instance that is committed later would be in no account.
            thread.join()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="dicom-landing", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept_all(self) -> None:
        while not self._closing.is_set():
            try:
                connection, address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # closed by __exit__
            self._start(self._serve, connection, str(address[0]))

    def _serve(self, connection: socket.socket, address: str) -> None:
        """Serve one sender until it releases the association."""
        try:
            stream = self._stream(connection, address)
        except OSError:
            connection.close()
            log.warning("A sender at %s could not agree on TLS with the landing", address)
            return
        self._streams.add(stream)
        try:
            if self._closing.is_set():
                return
            with accept_association(stream, self._rules) as association:
                self._serve_messages(association)
        except ReleasedByPeerError:
            pass
        except SinkStoppedError:
            pass  # the receiver holds the error
        except MigrationError as error:
            # Connections that we cut ourselves are no errors of the sender.
            if isinstance(error, PermanentError) or not self._closing.is_set():
                self.errors.append(error)
                log.warning("Landing: %s", error)
        finally:
            self._last_activity = max(self._last_activity, stream.last_activity)
            self._streams.discard(stream)
            stream.close()

    def _stream(self, connection: socket.socket, address: str) -> PduStream:
        connection.settimeout(self._settings.connection_timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        return PduStream(connection, f"The sender at {address}", self._settings.network_timeout_s)

    def _serve_messages(self, association: Association) -> None:
        while True:
            context_id, command = association.receive_command(self._settings.dimse_timeout_s)
            field = number(command, Field.COMMAND_FIELD)
            if field == CommandField.C_STORE_RQ:
                receive_instance(association, context_id, command, self._receiver)
            elif field == CommandField.C_ECHO_RQ:
                association.send(
                    context_id,
                    {
                        Field.COMMAND_FIELD: CommandField.C_ECHO_RSP,
                        Field.MESSAGE_ID_RESPONDED_TO: number(command, Field.MESSAGE_ID) or 0,
                        Field.STATUS: 0,
                    },
                )
            else:
                raise PermanentError(
                    f"{association.stream.peer} asked the landing for more than storage.",
                    reason=ReasonCode.SOURCE_ANSWER_INVALID,
                    next_step="Correct the destination's role at the source: storage only.",
                )


def _listen(settings: DimseSettings) -> socket.socket:
    """Listen as soon as no other task on this machine uses the port; they queue for it."""
    address = (settings.landing_host, settings.landing_port)
    deadline = time.monotonic() + settings.landing_wait_s
    waiting = False
    while True:
        try:
            listener = socket.create_server(address, backlog=64, reuse_port=False)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            if not taken or time.monotonic() >= deadline:
                raise _no_landing(settings, error) from error
            if not waiting:
                log.info("Waiting for landing port %d, which is in use", settings.landing_port)
            waiting = True
            time.sleep(_BIND_POLL_S)
        else:
            listener.settimeout(_ACCEPT_POLL_S)
            return listener


def _no_landing(settings: DimseSettings, error: OSError) -> MigrationError:
    where = f"{settings.landing_host}:{settings.landing_port}"
    why = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno == errno.EADDRINUSE:
        return TransientError(
            f"The landing cannot listen on {where}: it was in use for "
            f"{settings.landing_wait_s:g} seconds.",
            reason=ReasonCode.SOURCE_BUSY,
            next_step="Retry when no other retrieval uses this landing: give the pool "
            "pacs_associations one slot, or every worker a move destination of its own.",
        )
    return PermanentError(
        f"The landing cannot listen on {where} ({why}).",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step="Correct landing_host and landing_port: an address of the worker, and a port "
        "that its user may listen on.",
    )
