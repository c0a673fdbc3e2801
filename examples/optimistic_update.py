"""Change a row without losing what other clients write to it meanwhile.

Run `make dev`, then `python examples/optimistic_update.py [URL ...]`. `update` reads the row and asks for the new
value. It writes that value on condition that the row has not changed since, at the member that was read. Otherwise it
begins again. This is no lock between two members: the table's `conflicts` setting decides between their concurrent
writes.
"""

import asyncio
import json
import sys

from gossipkv import Choice, Client, ConditionFailedError

SERVERS = sys.argv[1:] or ["http://127.0.0.1:7080"]


def one_more(value: bytes | None) -> bytes:
    settings = json.loads(value or b"{}")
    settings["visits"] = settings.get("visits", 0) + 1
    return json.dumps(settings).encode()


async def main() -> None:
    async with Client(SERVERS, choice=Choice.IN_ORDER) as client:
        table = client.table("counters")
        await table.delete("page")
        await asyncio.gather(*(table.update("page", one_more, attempts_max=100) for _ in range(10)))
        row = await table.get("page")
        assert row is not None
        assert json.loads(row.value or b"") == {"visits": 10}
        print("ten updates at once, none lost")

        # The same without `update`: an ETag names the version that was read.
        await table.put("page", b"{}", if_match=row.etag)
        try:
            await table.put("page", b"{}", if_match=row.etag)
        except ConditionFailedError as error:
            print(f"refused, as it should be: {error}")
        else:
            raise AssertionError("the row had changed")


asyncio.run(main())
