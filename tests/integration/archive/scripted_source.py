"""A DICOM source that says exactly what a test tells it to, over a real connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation

from dicom_migration.archive.association_request import (
    peer_facts,
    request_association,
    user_information,
)
from dicom_migration.archive.dimse_association import AcceptedContext, Association
from dicom_migration.archive.dimse_command import Command, CommandField, Field, number, text
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.archive.pdu_stream import PduStream, PduType
from dicom_migration.errors import MigrationError, PermanentError, TransientError

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"

Script = Callable[[Association], None]
RawScript = Callable[[socket.socket], None]
RawCT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"

Script = Callable[[socket.socket], None]


class ScriptedSource:
    """Listens on the loopback; each association runs the next script, the last one again.

    Parameters
    ----------
    scripts
        What to do with an association after accepting all that was proposed.
    raw
        Instead: what to do with the bare connection.
    """

    def __init__(self, *scripts: Script, raw: RawScript | None = None) -> None:
        self._scripts = list(scripts)
        self._raw = raw
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._connections: list[socket.socket] = []
        self.associations = 0
        self.port = int(self._listener.getsockname()[1])

    def settings(self, **changes: Any) -> DimseSettings:
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "called_ae_title": "SCRIPTED",
            "landing_host": "127.0.0.1",
            "landing_port": 0,
            "acse_timeout_s": 2,
            "dimse_timeout_s": 2,
            "network_timeout_s": 2,
            "move_quiet_s": 1,
        }
        return DimseSettings(**{**values, **changes})

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for patience in (1, 5):
            for thread in self._threads:
                thread.join(patience)
            for connection in self._connections:
                connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(MigrationError, OSError):
            if self._raw is not None:
                self._raw(connection)
                return
            script = self._scripts[min(self.associations, len(self._scripts) - 1)]
            self.associations += 1
            association = _accepted(connection)
            script(association)
            # Whoever has nothing more to say waits until the other side releases.
            while True:
                association.receive_command(5)


def answer(
    association: Association, request: tuple[int, Command], status: int, **more: Any
) -> None:
    """Answer a request with a status; counters by name, ``dataset`` as bytes."""
    context_id, command = request
    dataset = more.pop("dataset", b"")
    response: Command = {
        Field.COMMAND_FIELD: (number(command, Field.COMMAND_FIELD) or 0) | 0x8000,
        Field.MESSAGE_ID_RESPONDED_TO: number(command, Field.MESSAGE_ID) or 0,
        Field.AFFECTED_SOP_CLASS_UID: text(command, Field.AFFECTED_SOP_CLASS_UID),
        Field.STATUS: status,
        **{Field[name.upper()]: value for name, value in more.items()},
    }
    association.send(context_id, response, dataset)


def take_request(association: Association) -> tuple[int, Command]:
    """Return the next request, its identifier read and forgotten."""
    context_id, command = association.receive_command(5)
    association.receive_dataset(command)
    return context_id, command


def store_request(sop_class_uid: str, sop_instance_uid: str, message_id: int = 1) -> Command:
    """Return a C-STORE request."""
    return {
        Field.COMMAND_FIELD: int(CommandField.C_STORE_RQ),
        Field.MESSAGE_ID: message_id,
        Field.AFFECTED_SOP_CLASS_UID: sop_class_uid,
        Field.AFFECTED_SOP_INSTANCE_UID: sop_instance_uid,
        Field.PRIORITY: 0,
    }


def send_instances(settings: DimseSettings, *uids: str) -> list[int]:
    """Send CT instances as a source does; return the statuses, [] when not let in.

    pynetdicom's sender would do, but for a race: under load its reactor takes a response that
    the sender waits for.
    """
    try:
        association = request_association(settings, [(CT, (EXPLICIT,))])
    except PermanentError:
        return []
    statuses: list[int] = []
    with contextlib.suppress(TransientError), association:
        for uid in uids:
            association.send(1, store_request(CT, uid), b"a dataset")
            _, response = association.receive_command(30)
            statuses.append(number(response, Field.STATUS) or 0)
    return statuses


def echo(settings: DimseSettings) -> int | None:
    """Send a C-ECHO; return the status."""
    with request_association(settings, [(VERIFICATION, (EXPLICIT,))]) as association:
        request = {Field.COMMAND_FIELD: int(CommandField.C_ECHO_RQ), Field.MESSAGE_ID: 1}
        association.send(1, {**request, Field.AFFECTED_SOP_CLASS_UID: VERIFICATION})
        _, response = association.receive_command(30)
        return number(response, Field.STATUS)


def _accepted(connection: socket.socket) -> Association:
    stream = PduStream(connection, "the adapter", 5)
    kind, body = stream.next_pdu()
    request_pdu = A_ASSOCIATE_RQ()
    request_pdu.decode(bytes([kind, 0]) + len(body).to_bytes(4, "big") + bytes(body))
    request = request_pdu.to_primitive()
    acceptance = A_ASSOCIATE()
    acceptance.application_context_name = UID("1.2.840.10008.3.1.1.1")
    acceptance.calling_ae_title = request.calling_ae_title
    acceptance.called_ae_title = request.called_ae_title
    acceptance.result, acceptance.result_source = 0, 1
    contexts = request.presentation_context_definition_list
    accepted = {}
    for context in contexts:
        context.result = 0
        context.transfer_syntax = context.transfer_syntax[:1]
        assert context.context_id is not None
        accepted[context.context_id] = AcceptedContext(
            context.context_id, str(context.abstract_syntax), str(context.transfer_syntax[0])
        )
    acceptance.presentation_context_definition_results_list = contexts
    roles = [
        item
        for item in request.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    ]
    acceptance.user_information = [*user_information(16384), *roles]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(acceptance)
    assert pdu.pdu_type == PduType.ASSOCIATE_AC
    stream.send(pdu.encode())
    return Association(stream, accepted, peer_facts(request), 2)
