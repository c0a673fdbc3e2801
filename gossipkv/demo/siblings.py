"""Two clients fill one cart on two sides of a split network, and no item is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gossipkv.demo.stage import Stage


async def siblings(stage: Stage) -> None:
    """Show that a table with siblings keeps concurrent writes until a client merges them. Raises DemoFailedError."""
    first, second, last = stage.names
    say = stage.say
    carts = {name: stage.client(name).table("carts", resolve=_union) for name in stage.names}
    await carts[first].configure(conflicts="siblings")
    await carts[first].put("ada", _cart("tea"))
    await stage.until(stage.are_equal, "all hold the same")
    say("The table keeps concurrent writes side by side. Ada's cart holds tea.")

    say(f"\nThe network splits: {first} and {second} on one side, {last} alone on the other.")
    stage.wire.split((first, second), (last,))
    for name, item in ((first, "milk"), (last, "bread")):
        read = await carts[name].get("ada")
        assert read is not None
        cart = _cart(*json.loads(read.value or b"[]"), item)
        await carts[name].put("ada", cart, context=read.context)
        say(f"  at {name} a client reads the cart, adds {item}, and puts {cart.decode()} with the context it has read")

    say("\nThe network heals.")
    stage.wire.heal()
    await stage.until(stage.are_equal, "all hold the same")
    read = await carts[second].get("ada")
    assert read is not None
    say(f"Neither write knew of the other, so every member keeps both: {_listed(read.siblings)}.")

    merged = read.value or b""
    await carts[second].put("ada", merged, context=read.context)
    await stage.until(stage.are_equal, "all hold the same")
    say(f"\nA client puts their union, {merged.decode()}, with the context that it has read. This replaces both.")
    for name in stage.names:
        read = await carts[name].get("ada")
        assert read is not None
        say(f"  {name}: {(read.value or b'').decode()}, {len(read.siblings) or 1} value")


def _cart(*items: str) -> bytes:
    return json.dumps(sorted(items)).encode()


def _union(carts: Sequence[bytes]) -> bytes:
    return _cart(*{item for cart in carts for item in json.loads(cart)})


def _listed(values: tuple[bytes, ...]) -> str:
    return " and ".join(sorted(value.decode() for value in values))
