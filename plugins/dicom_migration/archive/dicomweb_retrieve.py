"""WADO-RS: instances as a stream of Part 10 files, delivered while they arrive.

Source: DICOM PS3.18 section 10.4 (retrieve) and 8.7.3.5 (transfer-syntax ``*``: as stored).
"""

from __future__ import annotations

from collections.abc import Iterable

from dicom_migration.archive.instance_receiver import ArrivingInstance, Delivery, InstanceReceiver
from dicom_migration.archive.multipart import MultipartParser, PartEvent
from dicom_migration.archive.part10 import Part10Splitter
from dicom_migration.errors import PermanentError

ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class SinkStoppedError(Exception):
    """The sink cannot take anything any more; the receiver holds the error."""


class PartReceiver:
    """Delivers the parts of one response; what is unreadable fails alone.

    Parameters
    ----------
    receiver
        Where the instances go.
    """

    def __init__(self, receiver: InstanceReceiver) -> None:
        self._receiver = receiver
        self._splitter = Part10Splitter()
        self._arriving: ArrivingInstance | None = None
        self._unreadable = False

    def receive(self, chunks: Iterable[bytes], boundary: str) -> None:
        """Deliver every part of the response.

        Raises
        ------
        TransientError
            The connection broke or the response ended early; the last part was aborted.
        SinkStoppedError
            The sink will not take more.
        """
        parser = MultipartParser(boundary)
        try:
            for chunk in chunks:
                for event, data in parser.feed(chunk):
                    self._take(event, data)
            parser.finish()
        except BaseException:
            if self._arriving is not None:
                self._arriving.abort("The answer of the source ended early.")
            raise

    def _take(self, event: PartEvent, data: bytes) -> None:
        if event is PartEvent.BEGIN:
            self._splitter, self._arriving, self._unreadable = Part10Splitter(), None, False
        elif not self._unreadable:
            try:
                ended = event is PartEvent.END
                self._write(self._splitter.finish() if ended else self._splitter.feed(data))
            except PermanentError as error:
                self._unreadable = True
                self._receiver.fail("", error.reason, error.message)
                return
            if ended:
                self._end()

    def _write(self, dataset: bytes | memoryview) -> None:
        identity = self._splitter.identity
        if identity is not None:
            if self._arriving is None:
                self._arriving = self._receiver.begin(identity)
            self._arriving.write(dataset)

    def _end(self) -> None:
        arriving, self._arriving = self._arriving, None
        if arriving is not None and arriving.finish() is Delivery.STOPPED:
            raise SinkStoppedError
