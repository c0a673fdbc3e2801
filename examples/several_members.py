"""Ask several members in turn, and notice nothing when one of them is down.

Run `make dev`, then `python examples/several_members.py [URL ...]`.
"""

import asyncio
import sys

from gossipkv import Client

NOWHERE = "http://127.0.0.1:1"
"""The address of a member that is down."""
SERVERS = sys.argv[1:] or ["http://127.0.0.1:7080", "http://127.0.0.1:7081", "http://127.0.0.1:7082"]


async def main() -> None:
    async with Client([NOWHERE, *SERVERS], connect_timeout_s=1.0) as client:
        sessions = client.table("sessions")
        # The client cannot connect to the member that is down, so the write was not carried out there. The next
        # member gets it. If an answer were lost on the way, the client would raise an error and leave the decision
        # to you.
        for number in range(10):
            await sessions.put(f"user-{number}", b"signed in")

        # A row reaches the other members some milliseconds after one member has acknowledged it.
        async with asyncio.timeout(30):
            while len([row async for row in sessions.range(prefix="user-", keys_only=True)]) < 10:
                await asyncio.sleep(0.01)
        print("ten sessions, with one member down")

        cluster = await client.cluster()
        print("members:", ", ".join(sorted(member["member"] for member in cluster["members"])))


asyncio.run(main())
