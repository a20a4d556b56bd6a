"""What a retrieval's time was spent on, so that a slow one names its likely cause."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds, one after the other; None where a stage cannot be told from the next.

    Attributes
    ----------
    queue_s
        From when the request should have begun until somebody was free to send it.
    connect_s
        Opening connections (TCP, TLS). The source's are part of its first byte.
    first_byte_s
        From the request to the first byte of the answer.
    transfer_s
        From there to the last byte.
    decode_s
        The first frame, decoded; None when nothing was, or could be.
    """

    queue_s: float | None = None
    connect_s: float | None = None
    first_byte_s: float | None = None
    transfer_s: float | None = None
    decode_s: float | None = None

    @property
    def total_s(self) -> float:
        """All of them."""
        return sum(getattr(self, name) or 0.0 for name in STAGES)


#: Nothing is known of any of them.
UNKNOWN = Stages()
STAGES = tuple(field.name for field in fields(Stages))
