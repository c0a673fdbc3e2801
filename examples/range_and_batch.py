"""Load many rows and read some of them, in bounded memory.

Run `make dev`, then `python examples/range_and_batch.py [URL ...]`.
"""

import asyncio
import sys
from collections.abc import Iterator

from gossipkv import Choice, Client, Delete, Put

SERVERS = sys.argv[1:] or ["http://127.0.0.1:7080"]
ROWS = 5_000


def packages() -> Iterator[Put | Delete]:
    """Yield the operations. They are read as they are sent, so they could come from a file larger than memory."""
    for number in range(ROWS):
        yield Put(f"package-{number:05}", f"1.0.{number}".encode())
    yield Delete("package-00000")


async def main() -> None:
    async with Client(SERVERS, choice=Choice.IN_ORDER) as client:
        table = client.table("packages")

        # Writing these rows twice has the same result as writing them once. So a request whose answer is lost may be
        # sent again.
        stored = 0
        async for outcome in table.batch(packages(), idempotent=True):
            if outcome.error is None:
                stored += 1
            else:
                print(f"{outcome.row}: {outcome.error}")
        assert stored == ROWS + 1

        first = [row.row async for row in table.range(end="package-00010")]
        assert first == [f"package-{number:05}" for number in range(1, 10)]
        hundreds = [row async for row in table.range(prefix="package-012")]
        assert len(hundreds) == 100
        print(f"{stored} operations carried out; package-01200 is {hundreds[0].value!r}")


asyncio.run(main())
