"""What a manifest says of one instance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One stored SOP Instance.

    Attributes
    ----------
    transfer_syntax_uid
        Of the dataset as received.
    dataset_bytes, object_bytes
        Bytes received (dataset without group 0002) and bytes stored (Part 10 file).
    dataset_sha256
        Of the dataset as received.
    object_sha256
        Of the bytes stored: the object's, or of its range in a packed object.
    pixel_sha256
        Of the value of Pixel Data (7FE0,0010) as stored, "" when there is none.
    pixel_bytes
        Length of that value in bytes, None when there is none.
    object_key, offset
        Where it is; `offset` (bytes) is None when the object holds this instance alone.
    container_bytes, container_sha256
        Of the whole object that packs this instance with others; None and "" when it is alone.
    corrections
        Ids of the corrections applied in flight, empty when the dataset is stored unchanged.
    recompression
        What the transfer's policy made of it: "" (off), ``recompressed``, or why it was not.
    stored_transfer_syntax_uid
        Of the dataset as stored when it was recompressed, else "".
    source_pixel_sha256
        When it was recompressed: of the native frames as received (little endian, one after the
        other, no pad byte), which decoding the object gives back. Else "".
    facts
        The attributes that completeness is judged on, of the dataset as stored
        (:mod:`dicom_migration.header_facts`).
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    dataset_bytes: int
    dataset_sha256: str
    object_bytes: int
    object_sha256: str
    pixel_bytes: int | None
    pixel_sha256: str
    object_key: str
    source: str
    offset: int | None = None
    corrections: tuple[str, ...] = ()
    recompression: str = ""
    stored_transfer_syntax_uid: str = ""
    source_pixel_sha256: str = ""
    facts: dict[str, str | int | None] = field(default_factory=dict)
    container_bytes: int | None = None
    container_sha256: str = ""

    @property
    def object_transfer_syntax_uid(self) -> str:
        """Transfer syntax of the dataset as stored."""
        return self.stored_transfer_syntax_uid or self.transfer_syntax_uid

    @property
    def as_received(self) -> bool:
        """Whether the dataset is stored byte for byte as it was received."""
        return not (self.corrections or self.stored_transfer_syntax_uid)

    @property
    def packed(self) -> bool:
        """Whether the object holds other instances too."""
        return self.offset is not None

    def at(
        self,
        object_key: str,
        offset: int | None = None,
        container_bytes: int | None = None,
        container_sha256: str = "",
    ) -> ManifestRow:
        """Return the row with the place where the instance is stored."""
        return replace(
            self,
            object_key=object_key,
            offset=offset,
            container_bytes=container_bytes,
            container_sha256=container_sha256,
        )
