"""The few requests that the tests of the peers make, with pynetdicom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from include.peers.process import LOOPBACK

STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
STUDY_ROOT_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
STUDY_ROOT_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")


def find_studies(port: int, ae_title: str) -> list[Dataset]:
    """Return what the peer answers to a C-FIND for all studies."""
    entity = AE()
    entity.add_requested_context(STUDY_ROOT_FIND)
    association = _associated(entity.associate(LOOPBACK, port, ae_title=ae_title))
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    for keyword in ("StudyInstanceUID", "StudyDate", "PatientID", "AccessionNumber"):
        setattr(query, keyword, "")
    answers = list(association.send_c_find(query, STUDY_ROOT_FIND))
    association.release()
    assert answers[-1][0].Status == 0x0000
    return [identifier for _, identifier in answers if identifier is not None]


def get_study(
    port: int, ae_title: str, study: str, contexts: Iterable[tuple[str, str]]
) -> tuple[int, dict[str, bytes]]:
    """Retrieve a study by C-GET.

    Returns the final status, and by SOP Instance UID the dataset's bytes as they came.
    """
    entity = AE()
    entity.add_requested_context(STUDY_ROOT_GET)
    classes = set()
    for sop_class, syntax in sorted(set(contexts)):
        entity.add_requested_context(sop_class, syntax)
        classes.add(sop_class)
    received: dict[str, bytes] = {}

    def keep(event: evt.Event) -> int:
        request: Any = event.request
        received[request.AffectedSOPInstanceUID] = request.DataSet.getvalue()
        return 0x0000

    association = _associated(
        entity.associate(
            LOOPBACK,
            port,
            ae_title=ae_title,
            ext_neg=[build_role(sop_class, scp_role=True) for sop_class in classes],
            evt_handlers=[(evt.EVT_C_STORE, keep)],
        )
    )
    responses = list(association.send_c_get(_study(study), STUDY_ROOT_GET))
    association.release()
    return responses[-1][0].Status, received


def move_study(port: int, ae_title: str, study: str, destination: str) -> int:
    """Ask the peer to send a study to `destination`; return the final status."""
    entity = AE()
    entity.add_requested_context(STUDY_ROOT_MOVE)
    association = _associated(entity.associate(LOOPBACK, port, ae_title=ae_title))
    responses = list(association.send_c_move(_study(study), destination, STUDY_ROOT_MOVE))
    association.release()
    return int(responses[-1][0].Status)


def receive(ae_title: str, port: int, sop_class: UID, received: list[str]) -> AE:
    """Start a storage SCP that notes the SOP Instance UIDs it gets; `shutdown` it in the end."""
    entity = AE(ae_title)
    entity.add_supported_context(sop_class, ExplicitVRLittleEndian)

    def keep(event: evt.Event) -> int:
        request: Any = event.request
        received.append(request.AffectedSOPInstanceUID)
        return 0x0000

    entity.start_server((LOOPBACK, port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    return entity


def _study(uid: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = uid
    return identifier


def _associated(association: Association) -> Association:
    assert association.is_established
    return association
