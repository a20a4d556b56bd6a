"""A whole source archive over DIMSE whose retrievals go as a test tells.

It answers C-FIND at series and image level from what it holds, and C-GET and C-MOVE from a script
for each study; what is not scripted goes as it should. Sources: DICOM PS3.4 Annex C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dicom_migration.archive import records
from dicom_migration.archive.association_request import request_association
from dicom_migration.archive.dimse_association import AcceptedContext, Association
from dicom_migration.archive.dimse_command import Command, CommandField, Field, number
from dicom_migration.archive.dimse_identifier import decode_identifier, encode_identifier
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.archive.records import Attributes
from tests.archives import HeldInstance
from tests.integration.archive.scripted_source import ScriptedSource, answer, store_request

_KEYS = (
    records.QUERY_RETRIEVE_LEVEL,
    records.STUDY_INSTANCE_UID,
    records.SERIES_INSTANCE_UID,
    records.SOP_INSTANCE_UID,
)


@dataclass(frozen=True)
class Retrieval:
    """How the retrieval of a study goes.

    Attributes
    ----------
    sends
        What is sent, in this order, None for everything that was asked for.
    status
        Of the final response (PS3.4 section C.4.2.1.5).
    counters
        Of the final response: ``completed``, ``failed``, ``warning``; None leaves them out.
    failed
        Failed SOP Instance UID List (0008,0058).
    """

    sends: tuple[HeldInstance, ...] | None = None
    status: int = 0x0000
    counters: dict[str, int] | None = None
    failed: tuple[str, ...] = ()


class FaultySource(ScriptedSource):
    """Listens on the loopback.

    Parameters
    ----------
    held
        What it holds and lists.
    retrievals
        By Study Instance UID.
    landing
        Port of the C-MOVE destination.
    """

    def __init__(
        self,
        held: Sequence[HeldInstance],
        retrievals: dict[str, Retrieval] | None = None,
        landing: int = 0,
    ) -> None:
        super().__init__(self._answer_all)
        self.held = tuple(held)
        self.retrievals = retrievals or {}
        self._landing = landing

    def settings(self, **changes: Any) -> DimseSettings:
        return super().settings(landing_port=self._landing, **changes)

    def _answer_all(self, association: Association) -> None:
        while True:
            context_id, command = association.receive_command(30)
            syntax = association.contexts[context_id].transfer_syntax
            keys = decode_identifier(association.receive_dataset(command), syntax, _KEYS)
            request = context_id, command
            if number(command, Field.COMMAND_FIELD) == CommandField.C_FIND_RQ:
                self._find(association, request, keys, syntax)
            else:
                self._retrieve(association, request, keys, syntax)

    def _asked_for(self, keys: Attributes) -> list[HeldInstance]:
        wanted = keys.get(records.SOP_INSTANCE_UID, ())
        study = records.first(keys, records.STUDY_INSTANCE_UID)
        return [
            held
            for held in self.held
            if held.record.study_instance_uid == study
            and (not any(wanted) or held.record.sop_instance_uid in wanted)
        ]

    def _find(
        self,
        association: Association,
        request: tuple[int, Command],
        keys: Attributes,
        syntax: str,
    ) -> None:
        by_series = records.first(keys, records.QUERY_RETRIEVE_LEVEL) == "SERIES"
        rows = {
            tuple(sorted(_row(held, by_series).items())): None for held in self._asked_for(keys)
        }
        for row in rows:
            answer(association, request, 0xFF00, dataset=encode_identifier(dict(row), syntax))
        answer(association, request, 0x0000)

    def _retrieve(
        self,
        association: Association,
        request: tuple[int, Command],
        keys: Attributes,
        syntax: str,
    ) -> None:
        asked = self._asked_for(keys)
        study = records.first(keys, records.STUDY_INSTANCE_UID)
        going = self.retrievals.get(study, Retrieval())
        uids = {held.record.sop_instance_uid for held in asked}
        sends = [h for h in going.sends or () if h.record.sop_instance_uid in uids]
        if going.sends is None:
            sends = asked
        if number(request[1], Field.COMMAND_FIELD) == CommandField.C_GET_RQ:
            _send_all(association, sends)
        elif sends:
            self._send_to_landing(sends)
        counters = {"completed": len(sends), "failed": 0, "warning": 0}
        more: dict[str, Any] = dict(counters if going.counters is None else going.counters)
        if going.failed:
            listed = {records.FAILED_SOP_INSTANCE_UID_LIST: "\\".join(going.failed)}
            more["dataset"] = encode_identifier(listed, syntax)
        answer(association, request, going.status, **more)

    def _send_to_landing(self, sends: Sequence[HeldInstance]) -> None:
        ours = self.settings()
        theirs = replace(
            ours,
            port=self._landing,
            called_ae_title=ours.destination,
            calling_ae_title=ours.called_ae_title,
        )
        classes = {held.record.sop_class_uid: held.transfer_syntax_uid for held in sends}
        contexts = [(uid, (syntax,)) for uid, syntax in classes.items()]
        with request_association(theirs, contexts) as association:
            _send_all(association, sends)


def _send_all(association: Association, sends: Sequence[HeldInstance]) -> None:
    for message_id, held in enumerate(sends, start=1):
        record = held.record
        command = store_request(record.sop_class_uid, record.sop_instance_uid, message_id)
        context = _context(association, held)
        association.send(context.context_id, command, held.dataset)
        association.receive_command(30)


def _context(association: Association, held: HeldInstance) -> AcceptedContext:
    wanted = held.record.sop_class_uid, held.transfer_syntax_uid
    return next(
        context
        for context in association.contexts.values()
        if (context.abstract_syntax, context.transfer_syntax) == wanted
    )


def _row(held: HeldInstance, by_series: bool) -> dict[int, str]:
    record = held.record
    row = {
        records.QUERY_RETRIEVE_LEVEL: "SERIES" if by_series else "IMAGE",
        records.STUDY_INSTANCE_UID: record.study_instance_uid,
        records.SERIES_INSTANCE_UID: record.series_instance_uid,
    }
    if by_series:
        return {**row, records.MODALITY: "CT"}
    return {
        **row,
        records.SOP_CLASS_UID: record.sop_class_uid,
        records.SOP_INSTANCE_UID: record.sop_instance_uid,
    }
