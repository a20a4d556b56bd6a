"""C-ECHO: the question whether a DICOM peer answers (Part 4, annex A)."""

from __future__ import annotations

from pydicom.uid import UID
from pynetdicom import AE

_VERIFICATION = UID("1.2.840.10008.1.1")


def answers_echo(host: str, port: int, called_ae_title: str, timeout: float = 5.0) -> bool:
    """Return whether the peer accepts an association and answers a C-ECHO with success.

    `timeout` is in seconds and applies to each step.
    """
    entity = AE(ae_title="READINESS")
    entity.connection_timeout = timeout
    entity.acse_timeout = timeout
    entity.dimse_timeout = timeout
    entity.network_timeout = timeout
    entity.add_requested_context(_VERIFICATION)
    association = entity.associate(host, port, ae_title=called_ae_title)
    if not association.is_established:
        return False
    try:
        status = association.send_c_echo()
        return bool(status) and status.Status == 0x0000
    finally:
        association.release()
