"""The ways in which :class:`~tests.integration.cloud.fault_proxy.FaultProxy` can misbehave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of misbehaviour; build it with the class methods.

    Attributes
    ----------
    forward
        Let the upstream act on the request before misbehaving.
    delay_seconds
        Wait before anything else happens.
    status, body
        Answer instead of the upstream's; status 0 passes the upstream's answer on.
    cut_after
        Send only so many bytes of the answer's body, then close the connection.
    reset
        Close the connection with a TCP reset instead of answering.
    read_only
        Reset the connection after so many bytes of the request's body, the rest unread.
    headers
        Headers that take the place of the upstream's.
    call
        Called when the upstream has acted, or in its place; then the connection is reset.
    """

    forward: bool = False
    delay_seconds: float = 0.0
    status: int = 0
    body: bytes = b""
    cut_after: int | None = None
    reset: bool = False
    read_only: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    call: Callable[[], None] | None = None

    @classmethod
    def error(cls, status: int, code: str, *, forward: bool = False) -> Fault:
        """Answer with an S3 error document; with `forward` after the upstream has acted."""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>scripted</Message>"
            "<RequestId>FAULT0000000001</RequestId></Error>"
        )
        return cls(forward=forward, status=status, body=body.encode())

    @classmethod
    def connection_reset(cls) -> Fault:
        """Reset the connection; the upstream never sees the request."""
        return cls(reset=True)

    @classmethod
    def lost_answer(cls) -> Fault:
        """Let the upstream act, then reset the connection instead of answering."""
        return cls(forward=True, reset=True)

    @classmethod
    def reset_in_body(cls, after_bytes: int) -> Fault:
        """Take so many bytes of the request's body, then reset; the upstream sees nothing."""
        return cls(read_only=after_bytes, reset=True)

    @classmethod
    def other_headers(cls, **headers: str) -> Fault:
        """Pass the upstream's answer on with other values of these headers (``_`` is ``-``)."""
        named = ((name.replace("_", "-"), value) for name, value in headers.items())
        return cls(forward=True, headers=tuple(named))

    @classmethod
    def calling(cls, action: Callable[[], None], *, forward: bool) -> Fault:
        """Call into the test, before the upstream has acted or after it."""
        return cls(forward=forward, call=action, reset=True)

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """Pass the request on, `seconds` late."""
        return cls(forward=True, delay_seconds=seconds)

    @classmethod
    def silent(cls, seconds: float) -> Fault:
        """Let the upstream act, stay silent for `seconds`, then reset the connection."""
        return cls(forward=True, delay_seconds=seconds, reset=True)

    @classmethod
    def cut(cls, after_bytes: int) -> Fault:
        """Pass the upstream's answer on, but only so many bytes of its body."""
        return cls(forward=True, cut_after=after_bytes)
