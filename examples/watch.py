"""Keep a copy of a table up to date. Run `make dev`, then `python examples/watch.py [URL ...]`.

If the member that serves the watch is killed, the watch resumes at another one, and the copy misses nothing.
"""

import asyncio
import sys

from gossipkv import Client
from gossipkv.client import Kind

SERVERS = sys.argv[1:] or ["http://127.0.0.1:7080", "http://127.0.0.1:7081", "http://127.0.0.1:7082"]


async def main() -> None:
    copy: dict[str, bytes | None] = {}
    async with Client(SERVERS) as client:
        settings = client.table("settings")
        await settings.put("colour", b"blue")
        async with settings.watch(snapshot=True) as changes:
            async for change in changes:
                match change.kind:
                    case Kind.RESET:
                        copy.clear()
                    case Kind.PUT:
                        copy[change.row] = change.value
                    case Kind.DELETE | Kind.EXPIRED:
                        copy.pop(change.row, None)
                    case Kind.CURRENT:
                        # The copy is now complete. Later writes arrive as changes of their own.
                        await settings.put("colour", b"green")
                        await settings.put("size", b"large")
                if copy == {"colour": b"green", "size": b"large"}:
                    break
    print("the copy is", copy)


asyncio.run(main())
