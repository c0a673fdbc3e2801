"""One row at a time."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossipkv.api.problem import ProblemError

from .conftest import OPTIONS, Api, row_path, running

ODD_KEYS = [
    "a/b",
    "/",
    "//",
    "a\0b",
    "\0",
    "🦆",
    "%",
    "%2F",
    "a+b",
    " ",
    "..",
    ".",
    "a?b",
    "a#b",
    "é\u0301",
    "\n",
    "x" * 400,
]


async def test_a_row_is_read_as_it_was_put(api: Api) -> None:
    put = await api.put("k", b"\x00\xff\n")
    assert put.status == 201
    got = await api.get("k")
    assert (got.status, got.body) == (200, b"\x00\xff\n")
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["ETag"] == put.headers["ETag"]
    assert "Date" in got.headers


async def test_putting_again_updates_the_row_and_its_tag(api: Api) -> None:
    first = await api.put("k", b"1")
    second = await api.put("k", b"1")
    assert second.status == 204
    assert second.headers["ETag"] != first.headers["ETag"]


async def test_an_absent_body_is_the_empty_value(api: Api) -> None:
    assert (await api.ask("PUT", row_path("k"))).status == 201
    got = await api.get("k")
    assert (got.status, got.body) == (200, b"")
    assert got.headers["Content-Type"] == "application/octet-stream"


async def test_a_deleted_row_is_gone_and_deleting_it_again_is_no_error(api: Api) -> None:
    await api.put("k")
    assert (await api.delete("k")).status == 204
    assert (await api.get("k")).problem == "row-not-found"
    assert (await api.delete("k")).status == 204
    assert (await api.put("k")).status == 201


async def test_a_row_that_was_never_there_is_a_404(api: Api) -> None:
    answer = await api.get("k")
    assert (answer.status, answer.problem) == (404, "row-not-found")
    assert (await api.ask("HEAD", row_path("k"))).status == 404


async def test_head_has_the_headers_of_get_and_no_body(api: Api) -> None:
    put = await api.put("k", b"value")
    answer = await api.raw(f"HEAD {row_path('k')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length: 5" in head
    assert put.headers["ETag"].encode() in head


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_any_character_can_stand_in_a_key(api: Api, key: str) -> None:
    assert (await api.put(key, b"odd")).status == 201
    assert (await api.get(key)).body == b"odd"
    assert await api.keys() == [key]
    assert (await api.delete(key)).status == 204
    assert await api.keys() == []


async def test_slashes_of_a_key_need_no_encoding(api: Api) -> None:
    assert (await api.ask("PUT", "/v1/usr/tables/t/rows/a/b//c")).status == 201
    assert (await api.get("a/b//c")).status == 200


async def test_a_target_in_absolute_form_is_understood(api: Api) -> None:
    await api.put("k")
    target = f"http://127.0.0.1:{api.port}{row_path('k')}"
    answer = await api.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_every_key_and_value_makes_the_round_trip() -> None:
    loop: asyncio.AbstractEventLoop
    api: Api
    keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda key: len(key.encode()) <= 400)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(key=keys, value=st.binary(max_size=100))
    def round_trip(key: str, value: bytes) -> None:
        loop.run_until_complete(one(key, value))

    async def one(key: str, value: bytes) -> None:
        assert (await api.put(key, value)).status == 201
        assert (await api.get(key)).body == value
        assert await api.keys() == [key]
        assert (await api.delete(key)).status == 204
        assert await api.keys() == []

    def run() -> None:
        nonlocal loop, api
        loop = asyncio.new_event_loop()
        context = running()
        api = loop.run_until_complete(context.__aenter__())
        try:
            round_trip()
        finally:
            loop.run_until_complete(context.__aexit__(None, None, None))
            loop.close()

    await asyncio.to_thread(run)


@pytest.mark.parametrize(
    ("path", "status", "problem"),
    [
        ("/v1/usr/tables/t/rows/", 400, "invalid-row-key"),
        (f"/v1/usr/tables/t/rows/{'x' * 401}", 400, "invalid-row-key"),
        (f"/v1/usr/tables/t/rows/{'%C3%A9' * 201}", 400, "invalid-row-key"),
        ("/v1/usr/tables/t/rows/%FF", 400, "invalid-path"),
        ("/v1/usr/tables/t/rows/%C3", 400, "invalid-path"),
        ("/v1/usr/tables/t/rows/%ED%A0%80", 400, "invalid-path"),
        ("/v1/usr/tables/t/rows/%2", 400, "invalid-path"),
        ("/v1/usr/tables/t/rows/100%", 400, "invalid-path"),
        ("/v1/usr/tables/t%2Fu/rows/k", 400, "invalid-table-name"),
        ("/v1/usr/tables//rows/k", 400, "invalid-table-name"),
        (f"/v1/usr/tables/{'t' * 65}/rows/k", 400, "invalid-table-name"),
        ("/v1/usr/tables/%C3%A9/rows/k", 400, "invalid-table-name"),
        ("/v1/xyz/tables/t/rows/k", 404, "unknown-namespace"),
        ("/v1/usr/tables/t/rows/k?until=30s", 400, "unknown-parameter"),
        ("/v1/usr/tables/t/rows/k?x=2", 400, "unknown-parameter"),
        ("/v1/usr/tables/t/rows/k?%FF=1", 400, "invalid-parameter"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_bad_address_is_refused_and_changes_nothing(
    api: Api, method: str, path: str, status: int, problem: str
) -> None:
    await api.put("k", b"before")
    before = api.contents()
    answer = await api.ask(method, path, data=b"x" if method == "PUT" else None)
    assert (answer.status, answer.problem) == (status, problem)
    assert api.contents() == before


async def test_raw_bytes_that_are_not_encoded_are_refused(api: Api) -> None:
    for raw in (b"\xff", "é".encode()):
        answer = await api.raw(b"PUT /v1/usr/tables/t/rows/%b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx" % raw)
        assert b" 400 " in answer.partition(b"\r\n")[0]
    assert api.contents() == {}


async def test_the_system_namespace_is_readable_and_not_writable(api: Api) -> None:
    path = "/v1/sys/tables/members/rows/gossipkv-0"
    assert (await api.ask("GET", path)).json["status"] == "alive"
    for method in ("PUT", "DELETE"):
        answer = await api.ask(method, path)
        assert (answer.status, answer.problem) == (403, "read-only-namespace")
    assert (await api.ask("GET", path)).json["status"] == "alive"


async def test_a_value_of_the_largest_size_is_taken_and_a_larger_one_is_not(api: Api) -> None:
    largest = b"x" * OPTIONS.value_bytes_max
    assert (await api.put("k", largest)).status == 201
    answer = await api.put("k", largest + b"x")
    assert (answer.status, answer.problem) == (413, "value-too-large")
    assert (await api.get("k")).body == largest


async def test_a_chunked_body_is_bounded_while_it_is_read(api: Api) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 500

    answer = await api.ask("PUT", row_path("k"), data=endless())
    assert (answer.status, answer.problem) == (413, "value-too-large")
    assert api.contents() == {}


async def test_a_large_value_is_taken_in_pieces() -> None:
    value = bytes(range(256)) * 4096
    options = OPTIONS.__class__()
    async with running(options) as api:
        assert (await api.put("k", value)).status == 201
        assert (await api.get("k")).body == value
        assert (await api.ask("PUT", row_path("k"), data=io.BytesIO(value + b"x"))).problem == "value-too-large"


async def test_an_encoded_body_is_refused_and_not_decoded(api: Api) -> None:
    for coding in ("gzip", "deflate", "br", "unheard-of"):
        answer = await api.ask("PUT", row_path("k"), data=b"\x1f\x8b", headers={"Content-Encoding": coding})
        assert (answer.status, answer.problem) == (415, "encoded-body")
    assert api.contents() == {}
    identity = await api.ask("PUT", row_path("k"), data=b"x", headers={"Content-Encoding": "identity"})
    assert identity.status == 201


async def test_a_write_can_ask_for_the_version_it_knows(api: Api) -> None:
    etag = (await api.put("k", b"1")).headers["ETag"]
    other = (await api.put("other")).headers["ETag"]
    refused = await api.put("k", b"2", **{"If-Match": other})
    assert (refused.status, refused.problem) == (412, "precondition-failed")
    assert refused.json["etag"] == etag.strip('"')
    assert (await api.get("k")).body == b"1"
    assert (await api.put("k", b"2", **{"If-Match": f"{other}, {etag}"})).status == 204
    assert (await api.delete("k", **{"If-Match": etag})).status == 412
    assert (await api.get("k")).body == b"2"
    assert (await api.delete("k", **{"If-Match": "*"})).status == 204


async def test_a_write_can_ask_for_a_row_that_exists_or_does_not(api: Api) -> None:
    absent = await api.put("k", **{"If-Match": "*"})
    assert (absent.status, absent.json["etag"]) == (412, None)
    assert (await api.put("k", b"1", **{"If-None-Match": "*"})).status == 201
    assert (await api.put("k", b"2", **{"If-None-Match": "*"})).status == 412
    assert (await api.get("k")).body == b"1"
    await api.delete("k")
    assert (await api.put("k", b"3", **{"If-None-Match": "*"})).status == 201


async def test_of_many_writers_with_the_same_tag_one_wins(api: Api) -> None:
    etag = (await api.put("k")).headers["ETag"]
    answers = await asyncio.gather(*(api.put("k", b"%d" % n, **{"If-Match": etag}) for n in range(20)))
    assert sorted(answer.status for answer in answers) == [204] + [412] * 19


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "unquoted"},
        {"If-Match": '"a" "b"'},
        {"If-Match": '"a", *'},
        {"If-Match": ""},
        {"If-Match": '"a'},
        {"If-None-Match": '"a"'},
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_condition_that_cannot_be_read_is_refused(api: Api, method: str, headers: dict[str, str]) -> None:
    await api.put("k", b"before")
    before = api.contents()
    answer = await api.ask(method, row_path("k"), headers=headers)
    assert (answer.status, answer.problem) == (400, "invalid-condition")
    assert api.contents() == before


async def test_a_weak_tag_does_not_match_for_a_write(api: Api) -> None:
    etag = (await api.put("k")).headers["ETag"]
    assert (await api.put("k", **{"If-Match": f"W/{etag}"})).status == 412


async def test_a_reader_that_has_the_version_gets_304(api: Api) -> None:
    etag = (await api.put("k", b"1")).headers["ETag"]
    for tags in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = await api.get("k", **{"If-None-Match": tags})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    assert (await api.get("k", **{"If-None-Match": '"x"'})).status == 200
    assert (await api.get("k", **{"If-Match": '"x"'})).status == 412
    assert (await api.get("k", **{"If-None-Match": "x"})).problem == "invalid-condition"
    assert (await api.get("absent", **{"If-None-Match": "*"})).status == 404


async def test_an_error_leaves_nothing_for_the_garbage_collector(api: Api) -> None:
    await api.get("absent")
    gc.collect()
    before = problems_in_memory()
    gc.disable()
    try:
        for _ in range(20):
            assert (await api.get("absent")).status == 404
        assert problems_in_memory() <= before
    finally:
        gc.enable()


def problems_in_memory() -> int:
    return sum(isinstance(thing, ProblemError) for thing in gc.get_objects())
