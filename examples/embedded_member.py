"""Run a member inside your own program: `python examples/embedded_member.py`.

The member holds all rows, so the program reads them at memory speed. It continues when no other member can be reached.
"""

import asyncio
import socket
import tempfile
from pathlib import Path

from gossipkv import Node


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def main() -> None:
    # The example has two members in one program. A real program has one member, with a permanent directory, a fixed
    # port, and the gossip URLs of other members as its peers.
    directory = Path(tempfile.mkdtemp())
    ports = [free_port(), free_port()]
    peers = [f"http://127.0.0.1:{port}" for port in ports]
    first = Node(data_dir=directory / "a", member="a", cluster="example", gossip_port=ports[0], peers=peers)
    second = Node(data_dir=directory / "b", member="b", cluster="example", gossip_port=ports[1], peers=peers)
    async with first, second:
        await first.table("flags").put("dark-mode", b"on")
        print("the row is on the first member's disk")

        async with asyncio.timeout(60):
            while (row := second.table("flags").get("dark-mode")) is None:
                await asyncio.sleep(0.01)
        assert row.value == b"on"
        print(f"the second member has it, too: {row.value!r}, version {row.etag}")


asyncio.run(main())
