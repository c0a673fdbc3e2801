"""The embedded member tells of the cluster, and forgets members, as the client does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gossipkv import Client, InvalidArgumentError, Node, NotFoundError, RefusedError, UnavailableError
from tests.processes.members import free_port


def _node(directory: Path, name: str, ports: list[int], at: int, http_port: int | None = None) -> Node:
    return Node(
        data_dir=directory / name,
        member=name,
        peers=[f"http://127.0.0.1:{port}" for port in ports],
        gossip_port=ports[at],
        http_port=http_port,
        gossip_interval_ms=50,
        bootstrap_timeout_ms=50,
    )


async def test_a_member_in_this_process_tells_of_the_cluster_and_forgets_one_that_is_gone(tmp_path: Path) -> None:
    ports, http = [free_port(), free_port()], free_port()
    stays, goes = _node(tmp_path, "stays", ports, 0, http), _node(tmp_path, "goes", ports, 1)
    async with stays, Client([f"http://127.0.0.1:{http}"]) as client:
        async with goes:
            await goes.wait_ready()
            # By this answer the one member knows that the other is there.
            await stays.table("t").put("k", b"v", w=2, write_wait="1m")
            with pytest.raises(RefusedError, match="The member answers: stop it first"):
                await stays.forget("goes", force=True)
            told, asked = await stays.cluster(), await client.cluster()
            assert told.keys() == asked.keys()
            assert [(m["member"], m["self"]) for m in told["members"]] == [("goes", False), ("stays", True)]
            assert [m.keys() for m in told["members"]] == [m.keys() for m in asked["members"]]
        with pytest.raises(RefusedError):
            await stays.forget("goes")
        await stays.forget("goes", force=True)
        assert [m["member"] for m in (await stays.cluster())["members"]] == ["stays"]
        with pytest.raises(NotFoundError, match="no such member"):
            await stays.forget("goes", force=True)
        with pytest.raises(RefusedError, match="does not forget itself: ask another one"):
            await stays.forget("stays")
        with pytest.raises(InvalidArgumentError, match="`member` is 1 to 255 bytes"):
            await stays.forget("")
        with pytest.raises(InvalidArgumentError, match="`force` is True or False"):
            await stays.forget("goes", force="yes")  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        for call in (stays.cluster(), stays.forget("goes")):
            with pytest.raises(UnavailableError, match="stopping"):
                await call
