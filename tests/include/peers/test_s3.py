"""The object store takes an object, refuses to overwrite it, and is gone after stop."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from include.peers.process import is_listening
from include.peers.s3 import MotoS3


def test_objects_are_stored_once(tmp_path: Path) -> None:
    with MotoS3(tmp_path) as peer:
        assert len(peer.access_key) == 20
        assert len(peer.secret_key) == 40
        peer.create_bucket("archive")
        peer.create_bucket("archive")
        client = peer.client()
        client.put_object(Bucket="archive", Key="study/1", Body=b"pixels", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            client.put_object(Bucket="archive", Key="study/1", Body=b"other", IfNoneMatch="*")
        assert client.get_object(Bucket="archive", Key="study/1")["Body"].read() == b"pixels"
    assert not is_listening(peer.port)
