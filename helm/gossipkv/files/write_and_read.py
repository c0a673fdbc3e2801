"""Write a row on one member, read it on another, and delete it.

Arguments: URL of the member to write on, URL of the member to read on, row key, seconds until the row must be there.
Exit code 0: the row arrived.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from gossipkv.client import Client, ClientError, UnavailableError

TABLE = "helm-test"
PAUSE_S = 0.1


async def repeated(attempt: Callable[[], Awaitable[bool]], deadline: float) -> None:
    """Repeat the attempt until it succeeds. Raises the last error, or TimeoutError, once the deadline has passed."""
    while True:
        try:
            if await attempt():
                return
            error: Exception = TimeoutError("the member that was asked does not have this value")
        except UnavailableError as failure:
            error = failure
        if time.monotonic() > deadline:
            raise error
        await asyncio.sleep(PAUSE_S)


async def write_and_read(write_url: str, read_url: str, row: str, deadline: float) -> None:
    value = row.encode()
    async with Client([write_url]) as writer, Client([read_url]) as reader:
        rows = writer.table(TABLE)

        async def write() -> bool:
            await rows.put(row, value, idempotent=True)
            return True

        async def read() -> bool:
            found = await reader.table(TABLE).get(row)
            return found is not None and found.value == value

        await repeated(write, deadline)
        print(f"wrote row {row} of table {TABLE} on {write_url}")  # noqa: T201
        try:
            await repeated(read, deadline)
        finally:
            await rows.delete(row, idempotent=True)
        print(f"read it on {read_url}, and deleted it")  # noqa: T201


if __name__ == "__main__":
    _, write_url, read_url, row, timeout_s = sys.argv
    try:
        asyncio.run(write_and_read(write_url, read_url, row, time.monotonic() + float(timeout_s)))
    except (ClientError, TimeoutError) as error:
        sys.exit(f"row {row}, written on {write_url} and read on {read_url}: {error}")
