"""The proxy itself: transparent until told otherwise, and then exactly as told."""

from __future__ import annotations

import http.client
import time

import pytest

from tests.integration.cloud.fault_proxy import Fault, FaultProxy


def get(proxy: FaultProxy, path: str = "/") -> tuple[int, bytes]:
    host, port = proxy.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_it_passes_requests_and_remembers_them(proxy: FaultProxy) -> None:
    status, body = get(proxy)
    assert status == 200
    assert b"ListAllMyBucketsResult" in body
    assert [(seen.method, seen.path) for seen in proxy.requests] == [("GET", "/")]
    assert proxy.requests[0].headers["Host"] == proxy.url.removeprefix("http://")


def test_a_fault_hits_as_often_as_told_and_only_what_matches(proxy: FaultProxy) -> None:
    proxy.script(Fault.error(503, "SlowDown"), path_contains="?x", times=2, skip=1)
    answers = [get(proxy, path)[0] for path in ("/?x", "/", "/?x", "/?x", "/?x")]
    assert answers == [200, 200, 503, 503, 200]


def test_a_reset_a_cut_and_a_delay_are_felt(proxy: FaultProxy) -> None:
    proxy.script(Fault.connection_reset())
    proxy.script(Fault.cut(5))
    proxy.script(Fault.slow(0.2))
    with pytest.raises(ConnectionError):
        get(proxy)
    with pytest.raises(http.client.IncompleteRead):
        get(proxy)
    begin = time.monotonic()
    assert get(proxy)[0] == 200
    assert time.monotonic() - begin >= 0.2
