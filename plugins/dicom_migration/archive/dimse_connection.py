"""Opens the TCP or TLS connection to a source, and says what is wrong when it cannot.

Source: DICOM PS3.15 Annex B (secure transport connection profiles).
"""

from __future__ import annotations

import socket
import ssl

from dicom_migration.archive.dimse_settings import DimseSettings, TlsSettings
from dicom_migration.archive.pdu_stream import PduStream
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError


def open_stream(settings: DimseSettings) -> PduStream:
    """Connect to the source.

    Raises
    ------
    TransientError
        Refused, unreachable, timed out, or the name server did not answer.
    PermanentError
        The host name does not exist, or TLS cannot be agreed.
    """
    context = client_context(settings.tls) if settings.tls else None
    connection = _connect(settings)
    if context is not None and settings.tls is not None:
        connection = _secure(connection, context, settings)
    return PduStream(connection, settings.peer, settings.network_timeout_s)


def client_context(tls: TlsSettings) -> ssl.SSLContext:
    """Build the TLS context for connections to the source.

    Raises
    ------
    PermanentError
        A certificate or key file is missing or malformed.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _load_files(context, tls)
    return context


def landing_context(tls: TlsSettings) -> ssl.SSLContext:
    """Build the TLS context under which the source connects to our landing.

    The source must show a certificate of `ca_file`, when one is set and `verify` is on.

    Raises
    ------
    PermanentError
        A certificate or key file is missing or malformed.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if not tls.certificate_file:
        raise PermanentError(
            "The landing cannot speak TLS without a certificate.",
            next_step="Set tls_certificate_file and tls_key_file, or turn landing_tls off.",
        )
    _load_files(context, tls)
    if tls.ca_file and tls.verify:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_files(context: ssl.SSLContext, tls: TlsSettings) -> None:
    try:
        if tls.ca_file:
            context.load_verify_locations(cafile=tls.ca_file)
        if tls.certificate_file:
            context.load_cert_chain(tls.certificate_file, tls.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise PermanentError(
            f"A TLS file of the DICOM source cannot be used ({type(error).__name__}).",
            next_step="Check tls_ca_file, tls_certificate_file and tls_key_file: PEM, readable.",
        ) from error


def _connect(settings: DimseSettings) -> socket.socket:
    address = (settings.host, settings.port)
    try:
        connection = socket.create_connection(address, timeout=settings.connection_timeout_s)
    except socket.gaierror as error:
        raise _unresolved(settings, error) from error
    except TimeoutError as error:
        raise TransientError(
            f"{settings.peer} did not accept a connection within "
            f"{settings.connection_timeout_s:g} seconds.",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Check that the source runs and that no firewall drops the connection.",
        ) from error
    except OSError as error:
        raise TransientError(
            f"{settings.peer} cannot be reached ({error.strerror or type(error).__name__}).",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Check that the source runs, and its host and port in the connection.",
        ) from error
    # Without it every small response waits for a delayed ACK: 44 ms an instance.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _unresolved(settings: DimseSettings, error: socket.gaierror) -> MigrationError:
    message = f"The host name of {settings.peer} cannot be resolved."
    if error.errno == socket.EAI_AGAIN:
        return TransientError(
            message,
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Retry; if it happens again, check the name server of the worker.",
        )
    return PermanentError(
        message,
        reason=ReasonCode.SOURCE_UNREACHABLE,
        next_step="Correct the host in the Airflow connection.",
    )


def _secure(
    connection: socket.socket, context: ssl.SSLContext, settings: DimseSettings
) -> socket.socket:
    """Do the TLS handshake, within the connection timeout."""
    tls = settings.tls or TlsSettings()
    try:
        return context.wrap_socket(connection, server_hostname=tls.server_name or settings.host)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise PermanentError(
            f"The certificate of {settings.peer} is not trusted ({error.verify_message}).",
            reason=ReasonCode.SOURCE_REJECTED,
            next_step="Set tls_ca_file to the authority of the source, or tls_server_name.",
        ) from error
    except (ssl.SSLEOFError, ConnectionError, TimeoutError) as error:
        connection.close()
        raise TransientError(
            f"{settings.peer} broke off the TLS handshake.",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Retry; if it happens again, check that this port speaks TLS and whether "
            "the source asks for a certificate (tls_certificate_file).",
        ) from error
    except OSError as error:
        connection.close()
        raise PermanentError(
            f"TLS could not be agreed with {settings.peer}.",
            reason=ReasonCode.SOURCE_REJECTED,
            next_step="Check that this port speaks TLS, or turn tls off in the connection.",
        ) from error
