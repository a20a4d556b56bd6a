"""How we talk to S3: encryption, part sizes, timeouts, retries; and the client built from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config

# boto3 builds its client classes at run time, so there is no static type to name.
S3Client: TypeAlias = Any

MIB = 1 << 20
GIB = 1 << 30

# Limits of the S3 API ("Amazon S3 multipart upload limits").
MIN_PART_BYTES = 5 * MIB
MAX_PART_BYTES = 5 * GIB
MAX_SINGLE_PUT_BYTES = 5 * GIB
MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class S3Settings:
    """What a person may tune; the defaults suit a hospital on a shared line.

    Attributes
    ----------
    connection
        Name of the Airflow connection, only used to say in a message what to correct.
    kms_key_id
        Key id or ARN; when given, every object is written with SSE-KMS and this key.
    server_side_encryption
        ``AES256``, ``aws:kms`` or "" (the bucket's default encryption decides).
    multipart_threshold_bytes
        Objects larger than this go up in parts. A single PUT lets S3 verify the SHA-256 of the
        whole object, so the threshold is high; its upper limit is the 5 GiB of PutObject.
    part_bytes
        Size of a part, 5 MiB to 5 GiB; one part is held in memory per upload.
    ask_first_bytes
        Before a body larger than this is sent, a HEAD asks whether it is there already. It costs
        a round trip, and saves the bytes when a transfer is repeated.
    max_pool_connections
        Connections kept open; at least the number of threads that share the store.
    connect_timeout, read_timeout
        Seconds, per socket operation and not per object.
    max_attempts
        Attempts a request, the first included, of botocore's ``standard`` retry mode.
    require_conditional_create
        Let :meth:`S3Store.check` refuse a store that ignores ``If-None-Match``.
    """

    connection: str = "cloud_target"
    kms_key_id: str = ""
    server_side_encryption: str = ""
    multipart_threshold_bytes: int = GIB
    part_bytes: int = 64 * MIB
    ask_first_bytes: int = 8 * MIB
    max_pool_connections: int = 16
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    max_attempts: int = 3
    require_conditional_create: bool = True

    def __post_init__(self) -> None:
        """Refuse what S3 would refuse later, in the middle of a wave."""
        checks = (
            ("server_side_encryption", self.server_side_encryption in ("", "AES256", "aws:kms")),
            ("kms_key_id", not (self.kms_key_id and self.server_side_encryption == "AES256")),
            (
                "multipart_threshold_bytes",
                0 <= self.multipart_threshold_bytes <= MAX_SINGLE_PUT_BYTES,
            ),
            ("part_bytes", MIN_PART_BYTES <= self.part_bytes <= MAX_PART_BYTES),
            ("ask_first_bytes", self.ask_first_bytes >= 0),
            ("max_pool_connections", self.max_pool_connections >= 1),
            ("connect_timeout", self.connect_timeout > 0),
            ("read_timeout", self.read_timeout > 0),
            ("max_attempts", self.max_attempts >= 1),
        )
        wrong = [name for name, valid in checks if not valid]
        if wrong:
            raise PermanentError(
                f"S3 settings out of range: {', '.join(wrong)}",
                reason=ReasonCode.CONFIGURATION_INVALID,
                next_step=f"Correct service_config.s3 of connection {self.connection}; "
                "see docs/connect-s3.md.",
            )

    def encryption_parameters(self) -> dict[str, str]:
        """Return the encryption arguments of PutObject and CreateMultipartUpload."""
        if self.kms_key_id:
            return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key_id}
        if self.server_side_encryption:
            return {"ServerSideEncryption": self.server_side_encryption}
        return {}


def client_config(settings: S3Settings) -> Config:
    """Return the botocore configuration of a store with `settings`."""
    from botocore.config import Config

    return Config(
        # botocore's own "max_attempts" counts retries only, "total_max_attempts" all of them.
        retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.max_pool_connections,
        tcp_keepalive=True,
        # Every body we send carries its SHA-256 in a signed header; signing the payload too
        # would hash (and for a file read) every byte a second time.
        s3={"payload_signing_enabled": False},
    )


def create_client(
    settings: S3Settings,
    session: Session | None = None,
    *,
    region_name: str | None = None,
    endpoint_url: str | None = None,
) -> S3Client:
    """Build a client without Airflow, for tools and tests.

    Raises
    ------
    PermanentError
        The endpoint is not a URL.
    """
    import boto3

    try:
        return (session or boto3.session.Session()).client(
            "s3",
            region_name=region_name,
            endpoint_url=endpoint_url,
            config=client_config(settings),
        )
    except ValueError as exc:
        raise PermanentError(
            "the endpoint of the S3 store is not a valid URL",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step=f"Correct endpoint_url of connection {settings.connection}, "
            "for example https://s3.example.org.",
        ) from exc
