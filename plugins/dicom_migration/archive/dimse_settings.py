"""How to reach a DICOM application entity, checked when written and not when used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dicom_migration.errors import PermanentError, ReasonCode

RetrieveMethod = Literal["C-GET", "C-MOVE"]
_TIMEOUTS = (
    "connection_timeout_s",
    "acse_timeout_s",
    "dimse_timeout_s",
    "network_timeout_s",
    "move_quiet_s",
    "landing_wait_s",
)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS of a DICOM connection (PS3.15 Annex B, BCP 195 profiles).

    Attributes
    ----------
    ca_file
        PEM file of the authorities to trust; "" trusts those of the machine.
    certificate_file, key_file
        PEM files of our own certificate, for sources that ask for one and for the landing.
    verify
        False accepts any certificate, and so anybody between us and the source.
    server_name
        Name to expect in the source's certificate; "" expects the host.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    verify: bool = True
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class LandingAddress:
    """A destination of C-MOVE that the source knows, and where we listen for it.

    Attributes
    ----------
    ae_title
        As registered at the source, 1 to 16 characters.
    port
        To listen on, as registered.
    host
        Name of the machine (as its ``hostname`` says) to which the source sends, and so the only
        one that may use the landing; "" lets any machine, where there is only one.
    """

    ae_title: str
    port: int
    host: str = ""

    def __post_init__(self) -> None:
        """Check every field.

        Raises
        ------
        PermanentError
            Naming the field that is wrong.
        """
        _require(is_ae_title(self.ae_title), "landings.ae_title", "must be an AE title")
        _require(1 <= self.port <= 65_535, "landings.port", "must be between 1 and 65535")


@dataclass(frozen=True, slots=True)
class DimseSettings:
    """A source application entity and how we talk to it; times are seconds, sizes bytes.

    Attributes
    ----------
    calling_ae_title, called_ae_title
        Our AE title and the source's (PS3.8 section 9.3.2), 1 to 16 characters.
    retrieve_method
        ``C-GET`` sends over our own association; ``C-MOVE`` makes the source connect to us.
    move_destination_ae_title
        AE title under which the source knows our landing; "" means `calling_ae_title`.
    landing_host, landing_port
        Address on which the landing listens while a C-MOVE runs. Port 0 takes a free one, of use
        only where the source can learn it.
    landing_wait_s
        How long to wait for the landing port while another task on this machine uses it.
    landing_check_calling_ae
        Refuse senders whose AE title is not `called_ae_title`. Some sources send under another.
    landing_tls
        Whether the landing speaks TLS; None means as the source does.
    connection_timeout_s
        For the TCP connection and the TLS handshake.
    acse_timeout_s
        For the answer to an association or release request.
    dimse_timeout_s
        For the next message while an operation runs; long, for sources that read from tape.
    network_timeout_s
        For the next byte once a message has begun.
    move_quiet_s
        After the final C-MOVE response: how long to wait for instances still under way.
    max_pdu_bytes
        Largest PDU that we ask the source to send (PS3.8 section D.1); 0 is no limit.
    result_cap
        Number of C-FIND answers at which this source is known to stop, None when unknown.
    """

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str = "DICOM_MIGRATION"
    retrieve_method: RetrieveMethod = "C-GET"
    move_destination_ae_title: str = ""
    landing_host: str = "0.0.0.0"  # noqa: S104 - the source connects from another machine
    landing_port: int = 11113
    landing_wait_s: float = 600.0
    landing_check_calling_ae: bool = True
    landing_tls: bool | None = None
    tls: TlsSettings | None = None
    connection_timeout_s: float = 10.0
    acse_timeout_s: float = 30.0
    dimse_timeout_s: float = 300.0
    network_timeout_s: float = 60.0
    move_quiet_s: float = 10.0
    max_pdu_bytes: int = 131_072
    result_cap: int | None = None

    def __post_init__(self) -> None:
        """Check every field.

        Raises
        ------
        PermanentError
            Naming the field that is wrong.
        """
        _require(bool(self.host.strip()), "host", "must not be empty")
        _require(1 <= self.port <= 65_535, "port", "must be between 1 and 65535")
        _require(0 <= self.landing_port <= 65_535, "landing_port", "must be between 0 and 65535")
        for name in ("called_ae_title", "calling_ae_title"):
            _require(is_ae_title(getattr(self, name)), name, "must be an AE title")
        destination = self.move_destination_ae_title
        known = not destination or is_ae_title(destination)
        _require(known, "move_destination_ae_title", "must be an AE title")
        allowed = self.retrieve_method in ("C-GET", "C-MOVE")
        _require(allowed, "retrieve_method", "must be C-GET or C-MOVE")
        for name in _TIMEOUTS:
            _require(getattr(self, name) > 0, name, "must be more than 0 seconds")
        big = self.max_pdu_bytes == 0 or 4_096 <= self.max_pdu_bytes <= 16_777_216
        _require(big, "max_pdu_bytes", "must be 0, or between 4096 and 16777216")
        _require(self.result_cap is None or self.result_cap > 0, "result_cap", "must be positive")

    @property
    def destination(self) -> str:
        """Return the AE title of the landing."""
        return self.move_destination_ae_title or self.calling_ae_title

    @property
    def peer(self) -> str:
        """Return how messages name the source."""
        return f"{self.called_ae_title} at {self.host}:{self.port}"


def is_ae_title(value: str) -> bool:
    """Tell whether `value` can be an AE title: PS3.5 section 6.2, VR AE."""
    printable = value.isascii() and value.isprintable() and "\\" not in value
    return printable and 1 <= len(value) <= 16 and value == value.strip()


def _require(condition: bool, name: str, message: str) -> None:
    if not condition:
        raise PermanentError(
            f"The DICOM source's setting {name} {message}.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step=f"Correct {name} in the Airflow connection.",
        )
