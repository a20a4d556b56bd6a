"""A landing of one's own: where a source sends what a C-MOVE asked for.

What two retrievals ask of one AE title cannot be told apart, so a task has one for itself as
long as it runs.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence

from dicom_migration.archive.dimse_settings import LandingAddress
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag

log = logging.getLogger(__name__)

KIND = "landing"
POLL_S = 1.0


def wait_for_landing(
    leases: Leases,
    landings: Sequence[LandingAddress],
    stop: StopFlag,
    may_go_on: Callable[[], bool],
    host: str | None = None,
) -> LandingAddress | None:
    """Lease the first landing of this machine that is free; None when we may not wait any longer.

    Parameters
    ----------
    landings
        Those of the connection; the ones of other machines are passed over.
    host
        Name of this machine, by default what the system says.

    Raises
    ------
    PermanentError
        The connection has landings, but none for this machine.
    """
    here = host or socket.gethostname()
    ours = {
        lease_name(here, landing): landing for landing in landings if landing.host in ("", here)
    }
    if not ours:
        raise PermanentError(
            f"The source's connection has no landing for the machine {here}.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step=f"Add one with host {here} to the field landings, or run the transfer's "
            "tasks on the machines that have one (queue or affinity).",
        )
    told = False
    while may_go_on() and not stop.is_set:
        if name := leases.acquire(KIND, list(ours)):
            return ours[name]
        if not told:
            log.info("All %d landings of %s are taken; waiting for one", len(ours), here)
            told = True
        stop.sleep(POLL_S)
    return None


def lease_name(host: str, landing: LandingAddress) -> str:
    """Return the name of a landing's lease: the machine that listens, AE title, port."""
    return f"{host[:80]}/{landing.ae_title}:{landing.port}"
