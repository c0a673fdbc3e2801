"""What a member says while it knows of others and reaches none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from gossipkv.api.answers.alone import HEADER

from .conftest import Api, running
from .event_stream import watching

ROWS = "/v1/usr/tables/t/rows"


@pytest.fixture
async def lonely() -> AsyncIterator[Api]:
    async with running(endpoints=("memory://m1",)) as api:
        await api.node.wait_ready()
        yield api


def seconds(headers: Mapping[str, str]) -> int:
    return int(headers[HEADER])


async def test_every_answer_about_rows_says_that_the_member_is_alone(lonely: Api) -> None:
    answers = [
        await lonely.put("k"),
        await lonely.put("k"),
        await lonely.get("k"),
        await lonely.get("k", **{"If-None-Match": "*"}),
        await lonely.get("absent"),
        await lonely.put("k", **{"If-None-Match": "*"}),
        await lonely.ask("HEAD", f"{ROWS}/k"),
        await lonely.ask("GET", ROWS),
        await lonely.ask("GET", ROWS, headers={"Accept": "application/x-ndjson"}),
        await lonely.ask("GET", f"{ROWS}?limit=0"),
        await lonely.ask("POST", f"{ROWS}:batch", data=b'{"row":"b","value":"v"}\n'),
        await lonely.ask("PUT", "/v1/usr/tables/t", data=b'{"conflicts":"siblings"}'),
        await lonely.put("k"),
        await lonely.get("k"),
        await lonely.delete("k"),
    ]
    expected = [201, 204, 200, 304, 404, 412, 200, 200, 200, 400, 200, 201, 204, 300, 428]
    assert [answer.status for answer in answers] == expected
    for answer in answers[:11] + answers[12:]:
        assert seconds(answer.headers) >= 0, answer
    async with watching(lonely) as stream:
        assert seconds(stream.headers) >= 0


async def test_status_and_metrics_say_so_too(lonely: Api) -> None:
    assert (await lonely.ask("GET", "/v1/cluster")).json["alone_seconds"] >= 0
    assert b"\ngossipkv_alone 1.0\n" in (await lonely.ask("GET", "/metrics")).body


async def test_a_member_of_its_own_cluster_says_nothing(api: Api) -> None:
    assert HEADER not in (await api.put("k")).headers
    assert HEADER not in (await api.ask("GET", ROWS)).headers
    assert (await api.ask("GET", "/v1/cluster")).json["alone_seconds"] is None
    assert b"\ngossipkv_alone 0.0\n" in (await api.ask("GET", "/metrics")).body
