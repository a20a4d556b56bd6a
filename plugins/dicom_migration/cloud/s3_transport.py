"""How a boto3 client reaches a bucket, for who sends plain requests of its own.

Endpoint, region, credentials and TLS are decided by boto3, in one place; this asks it. What is
sent and what is believed of an answer is no business of this module: the way in
(:mod:`~dicom_migration.cloud.s3_direct`) and the way back out
(:mod:`~dicom_migration.cloud.s3_direct_get`) share only how they connect, sign and read a head.
"""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.utils import get_environ_proxies

from dicom_migration.cloud.s3_settings import S3Client

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

_PROBE_KEY = "key"
_SIGNED_WITH = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Transport:
    """Where and how the endpoint is reached; `path_prefix` precedes every key."""

    host: str
    port: int
    host_header: str
    path_prefix: str
    region: str
    tls: ssl.SSLContext | None


def transport_of(client: S3Client, bucket: str) -> Transport | None:
    """Return how `client` reaches `bucket`, None when that is not plain enough for the short way.

    Not plain are proxies, client certificates, S3 Express and Outposts, other signatures, and
    whatever a later botocore may hide: then boto3 alone is used.
    """
    with contextlib.suppress(Exception):  # any surprise means: not plain
        return _plain_transport(client, bucket)
    return None


def _plain_transport(client: S3Client, bucket: str) -> Transport | None:
    config = client.meta.config
    session = client._endpoint.http_session  # no public way to ask
    if config.proxies or config.client_cert or credentials_of(client) is None:
        return None
    request = _ordinary_request(client, bucket)
    signed: Any = request.headers["Authorization"]
    said = signed.decode("ascii") if isinstance(signed, bytes) else signed
    algorithm, credential = said.split(",")[0].split()
    region, service = credential.split("/")[-3:-1]
    url = urlsplit(request.url)
    if (algorithm, service) != (_SIGNED_WITH, "s3") or url.hostname is None:
        return None
    if get_environ_proxies(request.url):
        return None
    return Transport(
        host=url.hostname,
        port=url.port or (443 if url.scheme == "https" else 80),
        host_header=url.netloc,
        path_prefix=url.path.removesuffix(_PROBE_KEY),
        region=region,
        tls=_tls_context(session._verify) if url.scheme == "https" else None,
    )


class _NotSentError(Exception):
    """Carries the request that would have been sent."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


def _ordinary_request(client: S3Client, bucket: str) -> AWSPreparedRequest:
    """Return the signed request that `client` would send for a PutObject; nothing is sent.

    A presigned URL would not do: botocore presigns for the global endpoint, so that the bytes
    could go to another region, and its hosts are not those that a firewall lets through.
    """

    def stop(request: AWSPreparedRequest, **_: object) -> None:
        raise _NotSentError(request)

    events = client.meta.events
    events.register_first("before-send.s3.PutObject", stop)
    try:
        client.put_object(Bucket=bucket, Key=_PROBE_KEY)
    except _NotSentError as seen:
        return seen.request
    finally:
        events.unregister("before-send.s3.PutObject", stop)
    raise AssertionError("botocore sends without asking")


def _tls_context(verify: Any) -> ssl.SSLContext:
    """Return what botocore's `verify` means: its own authorities, a file's, or (False) nobody."""
    from botocore.httpsession import get_cert_path

    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return ssl.create_default_context(cafile=get_cert_path(verify))


def credentials_of(client: S3Client) -> Any:
    """Return the credentials that `client` signs with."""
    return client._request_signer._credentials  # refreshes by itself
