"""A member that starts with nothing while it reaches no one, and takes writes all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(240)

SETTINGS = {"bootstrap_timeout_ms": 1_000, "exchange_timeout_s": 1}
ROW = "/v1/usr/tables/carts/rows/alice"


async def put(members: Members, member: Member, value: str) -> dict[str, str]:
    """The headers of the answer."""
    async with members.session.put(member.url + ROW, data=value) as response:
        assert response.status in (201, 204)
        return dict(response.headers)


async def values(members: Members, member: Member) -> set[str]:
    async with members.session.get(member.url + ROW, headers={"Accept": "application/json"}) as response:
        if response.status == 300:
            return {sibling["value"] for sibling in (await response.json())["siblings"]}
        return {await response.text()}


async def test_it_wipes_no_value_of_a_table_whose_setting_it_does_not_know(tmp_path: Path) -> None:
    async with Members(tmp_path, **SETTINGS) as members:
        first, second, third = members.all
        async with members.session.put(first.url + "/v1/usr/tables/carts", data='{"conflicts":"siblings"}') as response:
            assert response.status == 201
        await put(members, first, "milk")
        await eventually(members.are_equal, "the row everywhere")
        assert "Gossipkv-Alone" not in await put(members, second, "bread")
        await eventually(members.are_equal, "both values everywhere")
        await third.kill()
        third.lose_disk()
        for member in members.all:
            member.proxy.is_cut = True
        await third.start(members.all)
        await eventually(lambda: members.is_ready(third), "it is ready alone")
        assert "Gossipkv-Alone" in await put(members, third, "eggs")
        for member in members.all:
            member.proxy.is_cut = False

        async def are_three() -> bool:
            return all([await values(members, member) == {"milk", "bread", "eggs"} for member in members.all])

        await eventually(are_three, "all three values everywhere")
        await eventually(members.are_equal, "equal fingerprints")
        assert "Gossipkv-Alone" not in await put(members, third, "tea")
