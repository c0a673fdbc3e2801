"""Pages of rows."""

from __future__ import annotations

import dataclasses

import pytest

from gossipkv.api.handlers.listing import cursor_of

from .conftest import OPTIONS, Api, running

ROWS = "/v1/usr/tables/t/rows"
ODD_KEYS = ["a", "a\0", "a\0b", "a b", "a%2Fb", "a+b", "a/", "a/b", "b", "..", "é", "z", "🦆", "\uffff"]


async def test_rows_are_listed_in_the_order_of_their_bytes(api: Api) -> None:
    for key in ODD_KEYS:
        await api.put(key)
    assert await api.keys(query="&limit=3") == sorted(ODD_KEYS, key=str.encode)


async def test_items_are_rows_with_text_or_base64(api: Api) -> None:
    text = (await api.put("text", "é\0".encode())).headers["ETag"].strip('"')
    data = (await api.put("data", b"\xff")).headers["ETag"].strip('"')
    page = (await api.ask("GET", ROWS)).json
    assert page == {
        "items": [
            {"row": "data", "value": {"base64": "/w=="}, "etag": data},
            {"row": "text", "value": "é\0", "etag": text},
        ],
        "next_cursor": None,
    }
    keys = (await api.ask("GET", f"{ROWS}?keys_only=true")).json["items"]
    assert keys == [{"row": "data", "etag": data}, {"row": "text", "etag": text}]


async def test_an_absent_table_lists_nothing(api: Api) -> None:
    assert (await api.ask("GET", ROWS)).json == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("prefix=a", ["a", "a/1", "a/2", "ab"]),
        ("prefix=a%2F", ["a/1", "a/2"]),
        ("start=a/2", ["a/2", "ab", "b", "é"]),
        ("end=a/2", ["a", "a/1"]),
        ("start=a/1&end=b", ["a/1", "a/2", "ab"]),
        ("prefix=a&start=a/2&end=ab", ["a/2"]),
        ("prefix=a&start=b", []),
        ("start=b&end=a", []),
        ("prefix=%C3%A9", ["é"]),
        ("prefix=&start=&end=", ["a", "a/1", "a/2", "ab", "b", "é"]),
    ],
)
async def test_bounds_choose_rows(api: Api, query: str, keys: list[str]) -> None:
    for key in ("a", "a/1", "a/2", "ab", "b", "é"):
        await api.put(key)
    await api.put("a", table="s")
    await api.put("a", table="t2")
    assert await api.keys(query=f"&{query}") == keys
    assert await api.keys(query=f"&{query}&limit=1") == keys


async def test_pages_have_no_more_rows_than_asked_and_the_last_has_no_cursor(api: Api) -> None:
    await api.batch({"row": f"{n:03}", "value": "v"} for n in range(25))
    first = (await api.ask("GET", f"{ROWS}?limit=20")).json
    assert [item["row"] for item in first["items"]] == [f"{n:03}" for n in range(20)]
    second = (await api.ask("GET", f"{ROWS}?limit=20&cursor={first['next_cursor']}")).json
    assert [item["row"] for item in second["items"]] == [f"{n:03}" for n in range(20, 25)]
    assert second["next_cursor"] is None
    assert len((await api.ask("GET", ROWS)).json["items"]) == 10


async def test_ndjson_has_a_row_per_line_and_the_cursor_in_a_header(api: Api) -> None:
    await api.batch({"row": f"{n}", "value": "a\nb"} for n in range(5))
    headers = {"Accept": "application/x-ndjson"}
    answer = await api.ask("GET", f"{ROWS}?limit=3", headers=headers)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [line["row"] for line in answer.lines] == ["0", "1", "2"]
    rest = await api.ask("GET", f"{ROWS}?cursor={answer.headers['Gossipkv-Next-Cursor']}", headers=headers)
    assert [line["row"] for line in rest.lines] == ["3", "4"]
    assert "Gossipkv-Next-Cursor" not in rest.headers


async def test_a_page_is_bounded_in_bytes_and_holds_one_row_however_large(api: Api) -> None:
    for key in "abc":
        await api.put(key, b"\1" * 900)
    page = (await api.ask("GET", ROWS)).json
    assert [item["row"] for item in page["items"]] == ["a"]
    assert await api.keys() == ["a", "b", "c"]
    for key in "abc":
        await api.put(key, b"x" * 900)
    assert len((await api.ask("GET", ROWS)).json["items"]) == 2


async def test_a_page_over_many_deleted_rows_ends_early_with_a_cursor(api: Api) -> None:
    await api.batch({"row": f"{n:03}", "delete": True} for n in range(45))
    await api.put("999")
    page = (await api.ask("GET", ROWS)).json
    assert page["items"] == []
    assert page["next_cursor"] is not None
    assert await api.keys() == ["999"]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("limit=0", "invalid-parameter"),
        ("limit=10001", "invalid-parameter"),
        ("limit=-1", "invalid-parameter"),
        ("limit=ten", "invalid-parameter"),
        ("limit=", "invalid-parameter"),
        ("limit=%D9%A1", "invalid-parameter"),
        ("keys_only=1", "invalid-parameter"),
        ("cursor=nonsense", "invalid-parameter"),
        ("cursor=%C3%A9", "invalid-parameter"),
        (f"cursor={cursor_of('usr', b'other' + bytes(1) + b'k')}", "invalid-parameter"),
        (f"cursor={cursor_of('sys', b't' + bytes(1) + b'k')}", "invalid-parameter"),
        (f"cursor={cursor_of('usr', b't' + bytes(1))}", "invalid-parameter"),
        (f"prefix={'x' * 401}", "invalid-parameter"),
        ("prefix=%ZZ", "invalid-parameter"),
        ("prefix=%FF", "invalid-parameter"),
        ("order=desc", "unknown-parameter"),
        ("limit=1&limit=1", "repeated-parameter"),
    ],
)
async def test_a_query_that_cannot_be_answered_is_refused(api: Api, query: str, problem: str) -> None:
    answer = await api.ask("GET", f"{ROWS}?{query}")
    assert (answer.status, answer.problem) == (400, problem)


async def test_the_interval_of_a_number_and_the_names_of_parameters_are_told(api: Api) -> None:
    assert "1 to 10000" in (await api.ask("GET", f"{ROWS}?limit=10001")).json["detail"]
    unknown = (await api.ask("GET", f"{ROWS}?order=desc&by=age")).json
    assert unknown["parameters"] == ["by", "order"]


async def test_the_system_namespace_can_be_listed(api: Api) -> None:
    items = (await api.ask("GET", "/v1/sys/tables/members/rows")).json["items"]
    assert [item["row"] for item in items] == ["gossipkv-0"]


async def test_a_page_reads_no_more_values_than_a_loop_can_spend_time_on() -> None:
    """Keys alone are read with their values."""
    async with running(dataclasses.replace(OPTIONS, page_examined_bytes_max=2_500)) as api:
        for key in "abcdefg":
            await api.put(key, b"x" * 900)
        page = (await api.ask("GET", f"{ROWS}?limit=50&keys_only=true")).json
        assert [item["row"] for item in page["items"]] == ["a", "b", "c"]
        assert await api.keys() == list("abcdefg")
