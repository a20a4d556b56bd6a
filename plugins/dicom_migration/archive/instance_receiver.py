"""Hands arriving instances to the sink and keeps account of what became of each.

One rule for all adapters decides what a failing sink means. An error about the instance (its
reason code is one of :data:`INSTANCE_REASONS`) fails that instance, and the retrieval goes on.
Any other error (disk full, target gone, a defect) would fail every instance after it as well:
the retrieval stops, and the error is raised once the source's connection is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from enum import Enum, auto

from dicom_migration.archive.protocol import (
    InstanceFailure,
    InstanceIdentity,
    InstanceSink,
    InstanceWriter,
    RetrieveOutcome,
)
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.uids import is_valid_uid

INSTANCE_REASONS = frozenset(
    {
        ReasonCode.UID_INVALID,
        ReasonCode.FIELD_INCOMPLETE,
        ReasonCode.FIELD_INVALID,
        ReasonCode.IDENTITY_CONFLICT,
        ReasonCode.HEADER_UNREADABLE,
        ReasonCode.CORRECTION_FAILED,
        ReasonCode.INSTANCE_UNEXPECTED,
        ReasonCode.INSTANCE_TRUNCATED,
        ReasonCode.INSTANCE_CONFLICT,
        ReasonCode.PIXEL_DATA_INVALID,
    }
)
"""Reasons for which a sink refuses one instance while the next may well be accepted."""

PIECE_BYTES = 1 << 20
"""Largest piece that is handed to a writer at once."""


class Delivery(Enum):
    """What became of one instance."""

    COMMITTED = auto()
    UNEXPECTED = auto()
    """Not among the instances that this retrieval may receive."""
    REFUSED = auto()
    """The sink will not have this instance."""
    STOPPED = auto()
    """The sink cannot take anything any more."""


class InstanceReceiver:
    """Writes one instance at a time to `sink`; safe to share between connections.

    Parameters
    ----------
    sink
        Where the instances go.
    only
        When given, SOP Instance UIDs that may be delivered; others are refused.

    Attributes
    ----------
    outcome
        What was delivered and refused so far.
    sink_error
        The error after which nothing more can be delivered, None while all is well.
    """

    def __init__(self, sink: InstanceSink, only: frozenset[str] | None = None) -> None:
        self.outcome = RetrieveOutcome()
        self.sink_error: Exception | None = None
        self._sink = sink
        self._only = only
        self._lock = threading.Lock()

    def receive(self, identity: InstanceIdentity, pieces: Iterable[bytes | memoryview]) -> Delivery:
        """Deliver one instance whose dataset is `pieces`; all of them are consumed.

        Whatever `pieces` raises aborts the instance and is raised.
        """
        with self._lock:
            arriving = self.begin(identity)
            try:
                for piece in pieces:
                    arriving.write(piece)
            except BaseException:
                arriving.abort("The connection to the source broke.")
                raise
            return arriving.finish()

    def begin(self, identity: InstanceIdentity) -> ArrivingInstance:
        """Begin an instance by hand, for one thread; finish or abort it before the next."""
        return ArrivingInstance(self, identity)

    def open_writer(self, identity: InstanceIdentity) -> InstanceWriter:
        """Ask the sink for a writer.

        Raises
        ------
        PermanentError
            The instance may not be delivered.
        """
        if not is_valid_uid(identity.sop_instance_uid) or not is_valid_uid(identity.sop_class_uid):
            raise PermanentError(
                "The source sent an instance whose UIDs are malformed.",
                reason=ReasonCode.UID_INVALID,
                next_step="Correct the SOP Instance UID at the source.",
            )
        if self._only is not None and identity.sop_instance_uid not in self._only:
            raise PermanentError(
                f"Instance {identity.sop_instance_uid} was not asked for.",
                reason=ReasonCode.INSTANCE_UNEXPECTED,
                next_step="Give every concurrent retrieval a move destination of its own.",
            )
        return self._sink.open(identity)

    def settle(self, identity: InstanceIdentity, failure: Exception | None) -> Delivery:
        """Enter the end of one instance into the account."""
        uid = identity.sop_instance_uid
        if failure is None:
            self.outcome.delivered.append(uid)
            return Delivery.COMMITTED
        if isinstance(failure, PermanentError) and failure.reason in INSTANCE_REASONS:
            shown = uid if is_valid_uid(uid) else ""
            entry = InstanceFailure(shown, failure.reason.value, failure.message)
            self.outcome.failures.append(entry)
            unexpected = failure.reason is ReasonCode.INSTANCE_UNEXPECTED
            return Delivery.UNEXPECTED if unexpected else Delivery.REFUSED
        if self.sink_error is None:
            self.sink_error = failure
        return Delivery.STOPPED

    def fail(self, sop_instance_uid: str, reason: ReasonCode, detail: str) -> None:
        """Enter an instance that never reached the sink."""
        self.outcome.failures.append(InstanceFailure(sop_instance_uid, reason.value, detail))

    def raise_sink_error(self) -> None:
        """Raise the error that stopped the sink, if one did."""
        if self.sink_error is not None:
            raise self.sink_error


class ArrivingInstance:
    """One instance underway; failures of the sink are kept until :meth:`finish`."""

    def __init__(self, receiver: InstanceReceiver, identity: InstanceIdentity) -> None:
        self._receiver = receiver
        self._identity = identity
        self._writer: InstanceWriter | None = None
        self._failure = receiver.sink_error
        if self._failure is None:
            try:
                self._writer = receiver.open_writer(identity)
            except Exception as error:  # noqa: BLE001 - judged by settle()
                self._failure = error

    def write(self, piece: bytes | memoryview) -> None:
        """Pass on the next piece, cut to at most :data:`PIECE_BYTES`."""
        if self._writer is None or self._failure is not None:
            return
        try:
            if len(piece) <= PIECE_BYTES:
                self._writer.write(piece)
                return
            view = memoryview(piece)
            for start in range(0, len(view), PIECE_BYTES):
                self._writer.write(view[start : start + PIECE_BYTES])
        except Exception as error:  # noqa: BLE001 - judged by settle()
            self._fail(error)

    def finish(self) -> Delivery:
        """Commit the instance, unless the sink failed before; tell what became of it."""
        if self._writer is not None and self._failure is None:
            try:
                self._writer.commit()
            except Exception as error:  # noqa: BLE001 - judged by settle()
                self._fail(error)
        return self._receiver.settle(self._identity, self._failure)

    def abort(self, reason: str) -> None:
        """Discard the instance; nothing is entered into the account."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.abort(reason)
        except Exception as error:  # noqa: BLE001 - raised once the source is left
            # The first failure is the one to tell; a sink that cannot discard is broken, though.
            if self._receiver.sink_error is None and self._failure is None:
                self._receiver.sink_error = error

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self.abort("The sink failed.")
