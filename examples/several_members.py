"""Ask several members in turn, and see none of it when one of them is away.

Run `make dev`, then `python examples/several_members.py [URL ...]`.
"""

import asyncio
import sys

from gossipkv import Client

NOWHERE = "http://127.0.0.1:1"
"""Stands for a member that is down."""
SERVERS = sys.argv[1:] or ["http://127.0.0.1:7080", "http://127.0.0.1:7081", "http://127.0.0.1:7082"]


async def main() -> None:
    async with Client([NOWHERE, *SERVERS], connect_timeout_s=1.0) as client:
        sessions = client.table("sessions")
        # No connection is made with the member that is down, so the write certainly was not carried out there, and is
        # sent to the next. Had an answer been lost on the way, the client would say so and leave the decision to you.
        for number in range(10):
            await sessions.put(f"user-{number}", b"signed in")

        # A row is at the other members some milliseconds after it was acknowledged by one.
        async with asyncio.timeout(30):
            while len([row async for row in sessions.range(prefix="user-", keys_only=True)]) < 10:
                await asyncio.sleep(0.01)
        print("ten sessions, with one member down")

        cluster = await client.cluster()
        print("members:", ", ".join(sorted(member["member"] for member in cluster["members"])))


asyncio.run(main())
