"""How to reach a DICOMweb service, checked when written and not when used."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dicom_migration.errors import PermanentError, ReasonCode


@dataclass(frozen=True, slots=True)
class DicomWebSettings:
    """A DICOMweb service; times are seconds.

    Attributes
    ----------
    base_url
        Root of the service: QIDO-RS is ``{base_url}/studies`` (PS3.18 section 8.2).
    username, password
        For HTTP basic authentication, when `username` is not empty.
    token
        For ``Authorization: Bearer``, when not empty. Neither is shown by ``repr``.
    verify
        False accepts any certificate, and so anybody between us and the source.
    ca_file
        PEM file of the authorities to trust; "" trusts those of the machine.
    connection_timeout_s, read_timeout_s
        For the connection, and for the next bytes of an answer.
    page_size
        QIDO-RS ``limit``: rows an answer.
    """

    base_url: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    verify: bool = True
    ca_file: str = ""
    connection_timeout_s: float = 10.0
    read_timeout_s: float = 300.0
    page_size: int = 500

    def __post_init__(self) -> None:
        """Check every field.

        Raises
        ------
        PermanentError
            Naming the field that is wrong.
        """
        try:
            parts = urlsplit(self.base_url)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname)
            sound = sound and not parts.username and (parts.port is None or parts.port > 0)
        except ValueError:
            sound = False
        _require(sound, "base_url", "must be an http or https URL without credentials")
        _require(not (self.username and self.token), "token", "excludes a username")
        _require(self.connection_timeout_s > 0, "connection_timeout_s", "must be more than 0")
        _require(self.read_timeout_s > 0, "read_timeout_s", "must be more than 0")
        _require(1 <= self.page_size <= 10_000, "page_size", "must be between 1 and 10000")

    @property
    def root(self) -> str:
        """Return the base URL without a trailing slash."""
        return self.base_url.rstrip("/")


def _require(condition: bool, name: str, message: str) -> None:
    if not condition:
        raise PermanentError(
            f"The DICOMweb source's setting {name} {message}.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step=f"Correct {name} in the Airflow connection.",
        )
