"""Ask several members for copies and answers, and follow a write to all members.

Run `make dev`, then `python examples/quorum.py [URL ...]`. With three members, a write with w=2 and a read with r=2
have at least one member in common. So the read sees the write, whichever members are asked.
"""

import asyncio
import sys

from gossipkv import Client, RefusedError, TooFewCopiesError, TooFewMembersError

SERVERS = sys.argv[1:] or ["http://127.0.0.1:7080", "http://127.0.0.1:7081", "http://127.0.0.1:7082"]


async def main() -> None:
    async with Client(SERVERS) as client:
        orders = client.table("orders")
        try:
            written = await orders.put("1001", b"paid", w=2, write_wait="5s")
        except TooFewMembersError:
            sys.exit("nothing was stored: you can try again")
        except TooFewCopiesError as error:
            sys.exit(f"stored on {error.copies} member, and still replicating: do not try again; see {error.receipt}")
        row = await orders.get("1001", r=2)
        assert row is not None
        print(f"two members have the order, and two members together answer {row.value!r}")

        assert written.receipt is not None
        coverage = await client.receipt(written.receipt, wait="all", within="30s")
        print(f"now {coverage['copies']} members have it")

        try:
            await orders.put("1002", b"paid", w=100)
        except RefusedError as error:
            print(f"refused, because there are fewer than 100 members: {error}")


asyncio.run(main())
