"""Rows with several values at once, over HTTP."""

from __future__ import annotations

import email
import email.policy
import json
from typing import Any

import pytest

from gossipkv.core.protocol import parcel
from gossipkv.storage.memory import MemoryStorage

from .conftest import Answer, Api, row_path, running
from .event_stream import watching

TABLES = "/v1/usr/tables"


async def keep_siblings(api: Api, table: str = "t") -> None:
    assert (await api.ask("PUT", f"{TABLES}/{table}", data=b'{"conflicts":"siblings"}')).status in (201, 204)


def context_of(answer: Answer) -> str:
    return str(answer.headers["Gossipkv-Context"])


async def write(api: Api, value: bytes | None, context: str | None = None, row: str = "k") -> Answer:
    headers = {} if context is None else {"Gossipkv-Context": context}
    if value is None:
        return await api.ask("DELETE", row_path(row), headers=headers)
    return await api.ask("PUT", row_path(row), data=value, headers=headers)


async def two(api: Api) -> None:
    await keep_siblings(api)
    assert (await write(api, b"one")).status == 201
    assert (await write(api, b"two")).status == 204


async def test_writes_without_a_context_stand_beside_each_other_and_one_with_it_replaces_them(api: Api) -> None:
    await two(api)
    both = await api.get("k")
    assert both.status == 300
    assert [item["value"] for item in both.json["siblings"]] == ["two", "one"]
    assert both.json["context"] == context_of(both)
    assert (await write(api, b"three")).status == 204
    assert (await write(api, b"merged", context_of(both))).status == 204
    assert [item["value"] for item in (await api.get("k")).json["siblings"]] == ["merged", "three"]
    assert (await write(api, b"all", context_of(await api.get("k")))).status == 204
    assert (await api.get("k")).body == b"all"


async def test_siblings_come_as_parts_where_those_are_asked_for(api: Api) -> None:
    await two(api)
    answer = await api.ask("GET", row_path("k"), headers={"Accept": "multipart/mixed"})
    kind = answer.headers["Content-Type"]
    message: Any = email.message_from_bytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + answer.body, policy=email.policy.HTTP
    )
    parts = [(part.get_payload(decode=True), part["ETag"]) for part in message.iter_parts()]
    assert answer.status == 300
    assert [value for value, _ in parts] == [b"two", b"one"]
    assert [etag.strip('"') for _, etag in parts] == [item["etag"] for item in (await api.get("k")).json["siblings"]]


async def test_a_delete_removes_what_its_context_has_seen_and_needs_one(api: Api) -> None:
    await two(api)
    seen = context_of(await api.get("k"))
    assert (await write(api, b"three")).status == 204
    assert (await write(api, None)).problem == "context-required"
    assert (await write(api, None, seen)).status == 204
    left = await api.get("k")
    assert (left.status, left.body) == (200, b"three")
    assert (await write(api, None, context_of(left))).status == 204
    gone = await api.get("k")
    assert gone.problem == "row-not-found"
    assert context_of(gone)
    assert (await write(api, None)).status == 204


async def test_an_etag_of_several_versions_is_a_condition_and_a_context(api: Api) -> None:
    await two(api)
    etag = (await api.get("k")).json["etag"]
    assert (await api.put("k", b"x", **{"If-Match": '"0000000000000001-1"'})).status == 412
    assert (await api.get("k", **{"If-None-Match": f'"{etag}"'})).status == 304
    assert (await api.put("k", b"merged", **{"If-Match": f'"{etag}"'})).status == 204
    assert (await api.get("k")).body == b"merged"


async def test_more_siblings_than_allowed_are_refused_until_someone_merges_them(api: Api) -> None:
    await keep_siblings(api)
    for n in range(64):
        assert (await write(api, b"%d" % n)).status < 300
    refused = await write(api, b"one more")
    assert (refused.status, refused.problem, refused.json["siblings"]) == (409, "too-many-siblings", 64)
    assert (await write(api, b"merged", context_of(await api.get("k")))).status == 204
    assert (await api.get("k")).body == b"merged"


async def test_a_value_that_would_make_the_row_too_large_to_be_carried_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcel, "ROW_BYTES_MAX", 1_000)
    await keep_siblings(api)
    assert (await write(api, b"1" * 500)).status == 201
    refused = await write(api, b"2" * 500)
    assert (refused.status, refused.problem) == (413, "row-too-large")
    line = {"row": "k", "value": "3" * 500}
    batch = await api.ask("POST", "/v1/usr/tables/t/rows:batch", data=json.dumps(line).encode())
    assert "row-too-large" in batch.body.decode()
    assert (await api.get("k")).body == b"1" * 500
    assert (await write(api, b"2" * 500, context_of(await api.get("k")))).status == 204


async def test_listed_rows_have_their_siblings_besides_and_batches_take_contexts(api: Api) -> None:
    await two(api)
    (item,) = (await api.ask("GET", f"{TABLES}/t/rows")).json["items"]
    assert item["value"] == "two"
    assert [sibling["value"] for sibling in item["siblings"]] == ["two", "one"]
    results = await api.batch([{"row": "k", "delete": True}, {"row": "k", "value": "x", "context": "nonsense"}, item])
    assert [result["status"] for result in results] == [428, 400, 204]
    assert (await api.get("k")).body == b"two"


@pytest.mark.parametrize("context", ["", "AAAA", "-", "A" * 32, "A" * 64])
async def test_a_context_that_is_none_of_the_row_is_refused(api: Api, context: str) -> None:
    assert (await write(api, b"x", context)).problem == "invalid-context"


async def test_the_context_of_another_row_is_refused(api: Api) -> None:
    other = context_of(await api.put("other"))
    assert (await write(api, b"x", other)).problem == "invalid-context"


async def test_a_table_that_stops_keeping_siblings_reads_as_its_winners_and_one_write_replaces_all(api: Api) -> None:
    await two(api)
    await api.ask("PUT", f"{TABLES}/t", data=b'{"conflicts":"lww"}')
    assert (await api.get("k")).body == b"two"
    (item,) = (await api.ask("GET", f"{TABLES}/t/rows")).json["items"]
    assert "siblings" not in item
    assert (await api.put("k", b"three")).status == 204
    await keep_siblings(api)
    assert (await api.get("k")).body == b"three"
    await write(api, b"four")
    assert [item["value"] for item in (await api.get("k")).json["siblings"]] == ["four", "three"]


async def test_settings_are_there_after_a_restart() -> None:
    storage = MemoryStorage()
    async with running(storage=storage) as api:
        await two(api)
    async with running(storage=storage) as api:
        await write(api, b"three")
        assert len((await api.get("k")).json["siblings"]) == 3


async def test_a_deleted_table_has_no_siblings_left(api: Api) -> None:
    await two(api)
    assert (await api.ask("DELETE", f"{TABLES}/t")).status == 204
    assert (await api.get("k")).status == 404
    assert (await api.ask("GET", f"{TABLES}/t")).status == 404


async def test_an_event_has_a_line_of_data_for_each_of_its_siblings(api: Api) -> None:
    """So no line of a stream is longer than a value can make it, however many there are."""
    await keep_siblings(api)
    values = ["\0" * 900, '"' * 900, "\n" * 900]
    async with watching(api) as stream:
        for value in values:
            await write(api, value.encode())
        event = (await stream.take(3))[-1]
        assert [each["value"] for each in event.data["siblings"]] == values[::-1]
    assert 6 * 900 < stream.longest_line_bytes < 6 * 900 + 500
