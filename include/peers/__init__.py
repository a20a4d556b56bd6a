"""Real peers for the demo and the tests: PACS, object store and database on the loopback."""

from include.peers.dcmqrscp import Dcmqrscp
from include.peers.load_report import LoadReport, Skipped
from include.peers.orthanc import Orthanc
from include.peers.postgres import Postgres
from include.peers.process import PeerError, PeerProcess, stop_process
from include.peers.qrscp import Qrscp
from include.peers.s3 import MotoS3

__all__ = [
    "Dcmqrscp",
    "LoadReport",
    "MotoS3",
    "Orthanc",
    "PeerError",
    "PeerProcess",
    "Postgres",
    "Qrscp",
    "Skipped",
    "stop_process",
]
