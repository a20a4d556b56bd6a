"""HTTP to a DICOMweb service, with every failure said in the project's errors.

Source: DICOM PS3.18 section 8.5 (status codes) and RFC 9110.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from dicom_migration.archive.dicomweb_settings import DicomWebSettings
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError

JSON_LIMIT = 256 * 1024 * 1024
"""Bytes of the longest JSON answer that is read."""
_READ_BYTES = 256 * 1024


class DicomWebClient:
    """Requests below the root of one service; connections are kept.

    Parameters
    ----------
    settings
        Where the service is and who we are.
    """

    def __init__(self, settings: DicomWebSettings) -> None:
        self.settings = settings
        try:
            urllib3.util.parse_url(settings.root)
        except LocationParseError as error:
            raise PermanentError(
                "The base URL of the DICOMweb source is malformed.",
                next_step="Correct it in the Airflow connection.",
            ) from error
        self._headers = _headers(settings)
        self._http = _pools(settings)

    def get_json(
        self, path: str, params: Mapping[str, str], study_instance_uid: str = ""
    ) -> list[dict[str, Any]]:
        """Return the rows of a DICOM JSON answer; no content is no rows.

        Raises
        ------
        TransientError, PermanentError
            As :meth:`stream`; the answer is too long, or is not a list of JSON objects.
        """
        body = bytearray()
        accept = {"Accept": "application/dicom+json"}
        with self.stream(path, accept, study_instance_uid, params) as response:
            for chunk in self.chunks(response):
                body += chunk
                if len(body) > JSON_LIMIT:
                    raise self._invalid(f"answered with more than {JSON_LIMIT} bytes of JSON")
        if not body:
            return []
        try:
            rows = json.loads(body)
        except ValueError:
            raise self._invalid("did not answer with DICOM JSON") from None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._invalid("did not answer with a list of DICOM JSON objects")
        return rows

    @contextmanager
    def stream(
        self,
        path: str,
        headers: Mapping[str, str],
        study_instance_uid: str = "",
        params: Mapping[str, str] | None = None,
    ) -> Iterator[BaseHTTPResponse]:
        """Send a GET and give the response, its body unread, once its status is a success.

        Raises
        ------
        TransientError
            No connection, no answer in time, 408, 429, 5xx.
        PermanentError
            Any other status; with reason ``instance_missing`` for 404 and 410.
        """
        try:
            response = self._http.request(
                "GET",
                f"{self.settings.root}/{path}",
                fields=dict(params or {}),
                headers={**self._headers, **headers},
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except HTTPError as error:
            raise self._broken(error, study_instance_uid) from _harmless(error)
        try:
            if response.status not in (200, 204, 206):
                raise self._refused(response, study_instance_uid)
            yield response
        finally:
            response.close()  # what was read to its end has given its connection back before

    def chunks(self, response: BaseHTTPResponse) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises
        ------
        TransientError
            The connection broke before the end of the body.
        """
        try:
            while chunk := response.read1(_READ_BYTES):  # as they come: nothing is held back
                yield chunk
        except HTTPError as error:
            raise self._broken(error, "") from _harmless(error)

    def close(self) -> None:
        """Close the kept connections; safe to call twice."""
        self._http.clear()

    def _refused(self, response: BaseHTTPResponse, study_instance_uid: str) -> MigrationError:
        status = response.status
        study = study_instance_uid or None
        said = f"The DICOMweb source answered with HTTP status {status}"
        if status in (408, 425, 429) or status >= 500:
            # Seconds or a date (RFC 9110 section 10.2.3); anything longer is not one.
            wait = response.headers.get("Retry-After", "")
            hint = f"; it asks for a pause of {wait} (Retry-After)" if 0 < len(wait) < 40 else ""
            busy = status in (408, 425, 429, 503)
            return TransientError(
                f"{said}{hint}.",
                reason=ReasonCode.SOURCE_BUSY if busy else ReasonCode.SOURCE_FAILED,
                next_step="Retry later, with fewer requests at once; its log has the cause.",
                study_instance_uid=study,
            )
        reason, next_step = _REFUSALS.get(status, _OTHER_REFUSAL)
        return PermanentError(f"{said}.", reason=reason, next_step=next_step,
                              study_instance_uid=study)  # fmt: skip

    def _broken(self, error: HTTPError, study_instance_uid: str) -> MigrationError:
        """Return the error for a connection that failed; its own text may hold the URL."""
        study = study_instance_uid or None
        if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
            return PermanentError(
                "The certificate of the DICOMweb source is not trusted.",
                reason=ReasonCode.SOURCE_REJECTED,
                next_step="Set ca_file to the authority of the source.",
                study_instance_uid=study,
            )
        if isinstance(error, DecodeError):
            return self._invalid("answered in a way that HTTP does not know")
        return TransientError(
            f"The connection to the DICOMweb source failed ({type(error).__name__}).",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Check that the service runs, and the base URL in the connection.",
            study_instance_uid=study,
        )

    def _invalid(self, what: str) -> PermanentError:
        return PermanentError(
            f"The DICOMweb source {what}.",
            reason=ReasonCode.SOURCE_ANSWER_INVALID,
            next_step="Check that the URL is the root of a DICOMweb service (QIDO-RS, WADO-RS).",
        )


_REFUSALS = {
    400: (ReasonCode.SOURCE_REFUSED_OPERATION, "Report the request to the source's vendor."),
    401: (ReasonCode.SOURCE_REJECTED, "Correct the credentials in the Airflow connection."),
    403: (ReasonCode.SOURCE_REJECTED, "Give our user the right to query and retrieve."),
    404: (ReasonCode.INSTANCE_MISSING, "Check the base URL, and whether the source has it still."),
    406: (ReasonCode.SOURCE_REFUSED_OPERATION, "Enable application/dicom at the source."),
    410: (ReasonCode.INSTANCE_MISSING, "Query the source again: it has deleted it."),
}
_OTHER_REFUSAL = (
    ReasonCode.SOURCE_REFUSED_OPERATION,
    "Check that the URL is the root of a DICOMweb service.",
)


def _harmless(error: HTTPError) -> HTTPError | None:
    """Return an error that may be shown as a cause: others quote what the source sent."""
    known = NewConnectionError | ConnectTimeoutError | ReadTimeoutError
    return error if isinstance(error, known) else None


def _headers(settings: DicomWebSettings) -> dict[str, str]:
    # DICOM pixel data does not compress again; gzip would cost the source time for nothing.
    headers = {"Accept-Encoding": "identity", "User-Agent": "dicom-migration"}
    if settings.username:
        secret = f"{settings.username}:{settings.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
    elif settings.token:
        headers["Authorization"] = f"Bearer {settings.token}"
    return headers


def _pools(settings: DicomWebSettings) -> urllib3.PoolManager:
    """Return kept connections to the service, through the proxy of the environment if it has one.

    Raises
    ------
    PermanentError
        The proxy's URL or the CA file cannot be used.
    """
    how: dict[str, Any] = {
        "timeout": urllib3.Timeout(
            connect=settings.connection_timeout_s, read=settings.read_timeout_s
        ),
        "ssl_context": _trust(settings),
    }
    url = urlsplit(settings.root)
    proxy = getproxies().get(url.scheme)
    if not proxy or proxy_bypass(url.netloc):
        return urllib3.PoolManager(**how)
    try:
        return urllib3.ProxyManager(proxy, **how)
    except (HTTPError, ValueError) as error:
        raise PermanentError(
            f"The environment names a proxy for {url.scheme} that cannot be used.",
            next_step=f"Correct {url.scheme}_proxy, or name the source in no_proxy.",
        ) from error


def _trust(settings: DicomWebSettings) -> ssl.SSLContext:
    if not settings.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise PermanentError(
            f"The CA file of the DICOMweb source cannot be used ({type(error).__name__}).",
            next_step="Check ca_file in the Airflow connection: PEM, readable by the worker.",
        ) from error
