"""`w`, `r`, `write_wait` and receipts over HTTP, at a member alone in its cluster."""

from __future__ import annotations

from typing import Any

import pytest

from gossipkv.core.model.write import StoredWrite
from gossipkv.core.waits.answers import Receipt
from gossipkv.member.waits import CopiesMissingError

from .conftest import Api, row_path

RECEIPTS = "/v1/cluster/receipts/"


async def test_every_write_answers_with_a_receipt_that_tells_who_has_it(api: Api) -> None:
    put, again = await api.put("k"), await api.put("k")
    deleted = await api.delete("k")
    (line, removed) = await api.batch([{"row": "b", "value": "v"}, {"row": "b", "delete": True}])
    headers: list[Any] = [answer.headers for answer in (put, again, deleted)]
    receipts = [each["Gossipkv-Receipt"] for each in headers] + [line["receipt"], removed["receipt"]]
    assert len(set(receipts)) == 5
    for receipt in receipts:
        coverage = (await api.ask("GET", RECEIPTS + receipt + "?wait=all&timeout=1m")).json
        assert coverage == {
            "receipt": receipt,
            "copies": 1,
            "complete": True,
            "members": [{"member": "gossipkv-0", "status": "alive", "self": True, "has_it": True}],
        }


async def test_one_copy_and_one_answer_may_be_asked_for(api: Api) -> None:
    assert (await api.ask("PUT", row_path("k") + "?w=1&write_wait=500ms", data=b"v")).status == 201
    assert (await api.ask("GET", row_path("k") + "?r=1")).body == b"v"


@pytest.mark.parametrize("query", ["w=2", "w=0", "w=x", "w=99999999999", "w=1&write_wait=2", "w=1&write_wait=61m"])
async def test_a_write_that_asks_for_what_cannot_be_changes_nothing(api: Api, query: str) -> None:
    for method in ("PUT", "DELETE"):
        answer = await api.ask(method, f"{row_path('k')}?{query}", data=b"v")
        assert (answer.status, answer.problem in ("invalid-parameter", "too-many-asked")) == (400, True)
    assert api.contents() == {}


async def test_a_read_of_more_members_than_there_are_is_refused(api: Api) -> None:
    for query in ("r=2", "r=0"):
        assert (await api.ask("GET", f"{row_path('k')}?{query}")).status == 400


@pytest.mark.parametrize("receipt", ["x", "usr.1.1", f"etc.{0:016x}.1", f"usr.{0:016x}.0", f"usr.{0:016x}.1?wait=some"])
async def test_what_is_no_receipt_is_refused(api: Api, receipt: str) -> None:
    assert (await api.ask("GET", RECEIPTS + receipt)).status == 400


async def test_a_write_with_too_few_copies_says_that_it_is_stored(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    write = api.node.write

    async def lacking(shard: str, operations: Any, copies: int, wait_seconds: float | None) -> Any:
        assert (copies, wait_seconds) == (3, 0.5)
        results = await write(shard, operations)
        [written] = results
        assert isinstance(written, StoredWrite)
        raise CopiesMissingError(3, results, await api.node.receipt(Receipt(shard, written.dot)))

    monkeypatch.setattr(api.node, "write", lacking)
    answer = await api.ask("PUT", row_path("k") + "?w=3&write_wait=500ms", data=b"v")
    assert (answer.status, answer.problem) == (503, "too-few-copies")
    assert (answer.json["stored"], answer.json["copies"]) == (True, 1)
    assert (await api.ask("GET", RECEIPTS + answer.json["receipt"])).json["copies"] == 1
    answer = await api.ask("POST", "/v1/usr/tables/t/rows:batch?w=3&write_wait=500ms", data=b'{"row":"b","value":""}\n')
    assert [line["problem"]["stored"] for line in answer.lines] == [True]
    assert api.contents() == {b"t\0k": b"v", b"t\0b": b""}
