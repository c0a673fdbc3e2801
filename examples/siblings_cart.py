"""Fill one cart from two clients at once, and lose nothing.

Run `make dev`, then `python examples/siblings_cart.py [URL ...]`. A table that keeps siblings keeps concurrent writes
side by side. A function merges them into one value. A write with the context of a read replaces what was read.
"""

import asyncio
import json
import sys
from collections.abc import Sequence

from gossipkv import Client

SERVERS = sys.argv[1:] or ["http://127.0.0.1:7080", "http://127.0.0.1:7081", "http://127.0.0.1:7082"]


def cart_of(*items: str) -> bytes:
    return json.dumps(sorted(set(items))).encode()


def union(carts: Sequence[bytes]) -> bytes:
    """Merge carts. The result must not depend on their order, because every client merges for itself."""
    return cart_of(*(item for cart in carts for item in json.loads(cart)))


def add(item: str, cart: bytes | None) -> bytes:
    return cart_of(*json.loads(cart or b"[]"), item)


async def main() -> None:
    async with Client(SERVERS[:1]) as one, Client(SERVERS[-1:]) as other:
        phone, laptop = one.table("carts", resolve=union), other.table("carts", resolve=union)
        await phone.configure(conflicts="siblings")
        async with asyncio.timeout(30):
            while (await laptop.describe() or {}).get("settings", {}).get("conflicts") != "siblings":
                await asyncio.sleep(0.01)

        # The writes are concurrent, so both carts stay.
        await asyncio.gather(phone.put("ada", cart_of("tea")), laptop.put("ada", cart_of("bread")))
        async with asyncio.timeout(30):
            while (row := await phone.get("ada")) is None or len(row.siblings) < 2:
                await asyncio.sleep(0.01)
        print(f"side by side: {sorted(row.siblings)}; resolved: {row.value!r}")

        # `update` reads the cart, adds to it, and writes it with the context of the read.
        await phone.update("ada", lambda cart: add("milk", cart), w=len(set(SERVERS)))
        row = await laptop.get("ada")
        assert row is not None
        assert not row.siblings
        print(f"the cart is {(row.value or b'').decode()}")


asyncio.run(main())
