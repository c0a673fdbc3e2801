"""What arrives on a socket, well-formed or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gossipkv.api.routes import build_api
from gossipkv.api.server import serve
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.store.storage import StorageFailedError, StorageFullError
from gossipkv.intake.limits import PortLimits
from gossipkv.member.batches import StoppedError
from gossipkv.member.driver import InboxFullError
from gossipkv.member.group_commit import StepFailedError

from .conftest import OPTIONS, Api, row_path, running

CLOSE = "Host: x\r\nConnection: close\r\n"


async def test_a_half_sent_body_changes_nothing(api: Api) -> None:
    await api.put("k", b"before")
    for framing in (b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(f"PUT {row_path('k')} HTTP/1.1\r\nHost: x\r\n".encode() + framing)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    await _requests_counted(api, "499", 2)
    assert (await api.get("k")).body == b"before"


async def _requests_counted(api: Api, status: str, count: int) -> None:
    async with asyncio.timeout(10):
        while True:
            text = (await api.ask("GET", "/metrics")).body.decode()
            lines = [line for line in text.splitlines() if f'status="{status}"' in line and "requests_total" in line]
            if sum(float(line.rpartition(" ")[2]) for line in lines) >= count:
                return


async def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    async with running(replace(OPTIONS, body_timeout_seconds=0.05)) as api:
        answer = await api.raw(f"PUT {row_path('k')} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf".encode())
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"urn:gossipkv:problem:body-timeout" in answer
        batch = await api.raw(
            b"POST /v1/usr/tables/t/rows:batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
            b'{"row":"a","value":"v"}\n{"row":"b"'
        )
        assert b'"row":"a","status":201' in batch
        assert b'"status":408' in batch
        assert list(api.contents()) == [b"t\0a"]


async def test_headers_that_come_too_slowly_are_given_up() -> None:
    async with running(replace(OPTIONS, port=PortLimits(head_timeout_seconds=0.05))) as api:
        assert await api.raw(b"GET /livez HTTP/1.1\r\nHo") == b""
        assert await api.raw(b"") == b""
    async with running(replace(OPTIONS, port=PortLimits(keepalive_timeout_seconds=0.05))) as api:
        after_a_response = await api.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /li")
        assert after_a_response.count(b"HTTP/1.1") == 1


async def test_a_client_that_expects_100_is_told_to_go_on(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    head = f"PUT {row_path('k')} HTTP/1.1\r\n{CLOSE}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(10):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"value")
        assert (await reader.read()).startswith(b"HTTP/1.1 201 ")
    writer.close()
    await writer.wait_closed()
    assert (await api.get("k")).body == b"value"


async def test_an_unknown_expectation_is_refused(api: Api) -> None:
    answer = await api.ask("PUT", row_path("k"), data=b"v", headers={"Expect": "miracles"})
    assert (answer.status, answer.problem) == (417, "expectation-failed")
    assert api.contents() == {}


async def test_pipelined_requests_are_answered_in_order(api: Api) -> None:
    puts = "".join(f"PUT {row_path(str(n))} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{n}" for n in range(3))
    gets = "".join(f"GET {row_path(str(n))} HTTP/1.1\r\nHost: x\r\n\r\n" for n in range(3))
    answer = await api.raw(f"{puts}{gets}GET {row_path('9')} HTTP/1.1\r\n{CLOSE}\r\n".encode())
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"201"] * 3 + [b"200"] * 3 + [b"404"]
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[4:7]]
    assert bodies == [b"0", b"1", b"2"]


async def test_http_1_0_closes_unless_it_asks_to_be_kept(api: Api) -> None:
    await api.put("k", b"value")
    answer = await api.raw(f"GET {row_path('k')} HTTP/1.0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert answer.endswith(b"\r\n\r\nvalue")
    kept = f"GET {row_path('k')} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    twice = await api.raw(f"{kept}GET {row_path('k')} HTTP/1.0\r\n\r\n".encode())
    assert twice.count(b"HTTP/1.0 200") == 2
    assert b"Connection: keep-alive" in twice


async def test_a_closing_client_is_told_so(api: Api) -> None:
    await api.put("k")
    answer = await api.raw(f"GET {row_path('k')} HTTP/1.1\r\n{CLOSE}\r\n".encode())
    assert b"Connection: close\r\n" in answer


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 2\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: x\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Bad Header: x\r\n",
        "X: " + "x" * 10_000 + "\r\n",
    ],
)
async def test_malformed_http_is_refused_and_changes_nothing(
    api: Api, headers: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="gossipkv.api.http"):
        answer = await api.raw(f"PUT {row_path('k')} HTTP/1.1\r\nHost: x\r\n{headers}\r\nv".encode())
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert b"Traceback" not in answer
    assert not caplog.records
    assert api.contents() == {}


async def test_a_malformed_chunk_is_refused_and_changes_nothing(api: Api) -> None:
    request = f"PUT {row_path('k')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv\r\nzz\r\n"
    assert b" 400 " in (await api.raw(request.encode())).partition(b"\r\n")[0]
    assert api.contents() == {}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/v1/usr/tables/t/rows/k", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/v1/usr/tables/t/rows/k", "DELETE, GET, HEAD, PUT"),
        ("OPTIONS", "/v1/usr/tables/t/rows/k", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/v1/usr/tables/t/rows", "GET, HEAD"),
        ("GET", "/v1/usr/tables/t/rows:batch", "POST"),
        ("POST", "/v1/cluster", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_allowed_is_told_those_that_are(
    api: Api, method: str, path: str, allow: str
) -> None:
    answer = await api.ask(method, path)
    assert (answer.status, answer.problem) == (405, "method-not-allowed")
    assert answer.headers["Allow"] == allow


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/usr",
        "/v2/usr/tables/t/rows/k",
        "/v1/usr/tables/t/columns",
        "/v1/usr/tables/t/columns/k",
        "/v1/cluster/receipts",
        "/livez/",
        "/{namespace}",
        "/a%0Ab",
        "//",
    ],
)
async def test_an_unknown_path_is_a_404_under_one_label(api: Api, path: str) -> None:
    answer = await api.ask("GET", path)
    assert (answer.status, answer.problem) == (404, "path-not-found")
    metrics = (await api.ask("GET", "/metrics")).body.decode()
    assert 'gossipkv_http_requests_total{method="GET",route="unknown",status="404"} 1.0' in metrics


async def test_an_unknown_method_is_refused_under_one_label(api: Api) -> None:
    answer = await api.raw(f"PROPFIND {row_path('k')} HTTP/1.1\r\n{CLOSE}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    metrics = (await api.ask("GET", "/metrics")).body.decode()
    route = "/v1/{namespace}/tables/{table}/rows/{row}"
    assert f'gossipkv_http_requests_total{{method="other",route="{route}",status="405"}} 1.0' in metrics


@pytest.mark.parametrize(
    ("error", "status", "problem"),
    [
        (InboxFullError("too many"), 503, "overloaded"),
        (StoppedError("stopping"), 503, "stopping"),
        (StorageFullError("no room"), 507, "storage-full"),
        (StorageFailedError("EIO"), 507, "storage-failed"),
        (StepFailedError("a fault"), 500, "internal-error"),
        (ZeroDivisionError("a secret"), 500, "internal-error"),
    ],
)
async def test_a_write_that_fails_is_a_problem_that_tells_no_internals(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, problem: str
) -> None:
    async def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(api.node, "write", failing)
    for answer in (await api.put("k"), await api.delete("k"), await api.ask("PUT", "/v1/usr/tables/t", data=b"{}")):
        assert (answer.status, answer.problem) == (status, problem)
        assert ("Retry-After" in answer.headers) is (status == 503)
        assert b"secret" not in answer.body
        assert b"Traceback" not in answer.body


async def test_a_port_in_use_names_the_address_and_the_setting(api: Api) -> None:
    with pytest.raises(OSError, match=f"127.0.0.1:{api.port}.*--http-port.*GOSSIPKV_HTTP_PORT"):
        await serve(build_api(api.node, api.metrics, OPTIONS), "127.0.0.1", api.port, OPTIONS)


async def test_stopping_waits_for_requests_under_way(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    write = api.node.write
    began, may_end = asyncio.Event(), asyncio.Event()

    async def held(shard: str, operations: Sequence[Operation], *wanted: Any) -> list[Result]:
        began.set()
        await may_end.wait()
        return await write(shard, operations, *wanted)

    monkeypatch.setattr(api.node, "write", held)
    server = await serve(build_api(api.node, api.metrics, OPTIONS), "127.0.0.1", 0, OPTIONS)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"PUT {row_path('k')} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nvalue".encode())
    async with asyncio.timeout(10):
        await began.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        may_end.set()
        assert (await reader.read()).startswith(b"HTTP/1.1 201 ")
        await stopping
    writer.close()
    await writer.wait_closed()
    assert (await api.get("k")).body == b"value"
