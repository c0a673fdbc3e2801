"""Two clients fill one cart on two sides of a split network; nothing they put in is lost."""

from __future__ import annotations

import json

from gossipkv.demo.stage import Stage


async def siblings(stage: Stage) -> None:
    first, second, last = stage.names
    say = stage.say
    await stage.client(first).set_table("carts", {"conflicts": "siblings"})
    await stage.client(first).put("carts", "ada", _cart("tea"))
    await stage.until(stage.are_equal, "all hold the same")
    say("The table keeps concurrent writes side by side. Ada's cart holds tea.")

    say(f"\nThe network splits: {first} and {second} on one side, {last} alone on the other.")
    stage.wire.split((first, second), (last,))
    for name, item in ((first, "milk"), (last, "bread")):
        client = stage.client(name)
        read = await client.get("carts", "ada")
        cart = _cart(*json.loads(read.content), item)
        await client.put("carts", "ada", cart, context=read.context)
        say(f"  at {name} a client reads the cart, adds {item}, and puts {cart.decode()} with the context it has read")

    say("\nThe network heals.")
    stage.wire.heal()
    await stage.until(stage.are_equal, "all hold the same")
    read = await stage.client(second).get("carts", "ada")
    say(f"Neither write knew of the other, so both stand, at every member: {_listed(read.siblings)}.")

    merged = _cart(*{item for sibling in read.siblings for item in json.loads(sibling)})
    await stage.client(second).put("carts", "ada", merged, context=read.context)
    await stage.until(stage.are_equal, "all hold the same")
    say(f"\nA client puts their union, {merged.decode()}, with the context of what it has read: that replaces both.")
    for name in stage.names:
        read = await stage.client(name).get("carts", "ada")
        say(f"  {name}: {read.content.decode()}, {len(read.siblings) or 1} value")


def _cart(*items: str) -> bytes:
    return json.dumps(sorted(items)).encode()


def _listed(values: tuple[bytes, ...]) -> str:
    return " and ".join(sorted(value.decode() for value in values))
