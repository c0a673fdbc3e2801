"""Watches over HTTP."""

from __future__ import annotations

from .conftest import Api
from .event_stream import watching


async def test_a_watch_tells_puts_and_deletes_from_now_on(api: Api) -> None:
    await api.put("before")
    async with watching(api, "?prefix=k") as stream:
        etag = (await api.put("k", b"1")).headers["ETag"].strip('"')
        await api.put("elsewhere")
        await api.put("k", b"1", table="another")
        await api.put("k", b"\xff")
        await api.delete("k")
        events = await stream.take(3)
    assert [event.shown for event in events] == [
        ("put", "k", "1"),
        ("put", "k", {"base64": "/w=="}),
        ("delete", "k", None),
    ]
    assert events[0].data["etag"] == etag
    assert all("context" not in event.data for event in events)


async def test_a_watch_goes_on_from_each_of_its_ids_without_a_gap_or_a_repetition(api: Api) -> None:
    async with watching(api) as stream:
        await api.batch([{"row": f"k{number}", "value": "v"} for number in range(9)])
        events = await stream.take(9)
    for place, event in enumerate(events):
        async with watching(api, **{"Last-Event-ID": event.id}) as stream:
            await api.put(f"after{place}")
            rest = [event.data["row"] for event in await stream.take(9 - place)]
        expected = [f"k{number}" for number in range(place + 1, 9)] + [f"after{number}" for number in range(place + 1)]
        assert rest == expected[: 9 - place]


async def test_a_snapshot_comes_first_where_it_is_asked_for(api: Api) -> None:
    await api.put("b")
    await api.put("a")
    await api.delete("b")
    async with watching(api, "?snapshot=true") as stream:
        first = await stream.take(2)
        await api.put("c")
        last = await stream.next()
    assert [event.kind for event in first] == ["put", "current"]
    assert first[0].id == ""
    assert last.shown == ("put", "c", "v")


async def test_an_event_of_a_row_that_keeps_siblings_carries_all_values_and_a_context(api: Api) -> None:
    assert (await api.ask("PUT", "/v1/usr/tables/t", data=b'{"conflicts":"siblings"}')).status in (201, 204)
    async with watching(api) as stream:
        await api.put("k", b"one")
        await api.put("k", b"two")
        answer = await api.get("k")
        first, both = await stream.take(2)
        assert (first.kind, first.data["value"]) == ("put", "one")
        assert (both.kind, both.data) == ("put", answer.json)
        await api.put("k", b"merged", **{"Gossipkv-Context": both.data["context"]})
        merged = await stream.next()
        await api.delete("k", **{"Gossipkv-Context": merged.data["context"]})
        deleted = await stream.next()
    assert merged.shown == ("put", "k", "merged")
    assert deleted.kind == "delete"


async def test_a_member_that_stops_ends_its_watches(api: Api) -> None:
    async with watching(api) as stream:
        api.node.end_watches()
        assert (await stream.next()).kind == "end"
    async with watching(api) as stream:
        assert (await stream.next()).kind == "end"


async def test_a_reset_that_was_cut_off_is_begun_anew(api: Api) -> None:
    await api.put("k")
    async with watching(api, **{"Last-Event-ID": "anew"}) as stream:
        events = await stream.take(3)
    assert [event.kind for event in events] == ["reset", "put", "current"]
    assert events[0].id == "anew"


async def test_an_id_that_no_watch_gave_out_is_refused(api: Api) -> None:
    for text in ("x", "AQ", "!!!!", "AQABAAAAAAAAAAA"):
        answer = await api.ask("GET", f"/v1/usr/tables/t/rows:watch?last_event_id={text}")
        assert (answer.status, answer.problem) == (400, "invalid-parameter")


async def test_an_id_longer_than_any_that_is_given_out_begins_anew(api: Api) -> None:
    await api.put("k")
    for length in (4_097, 8_404, 20_000):
        async with watching(api, **{"Last-Event-ID": "A" * length}) as stream:
            assert [event.kind for event in await stream.take(3)] == ["reset", "put", "current"]
