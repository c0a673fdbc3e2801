"""The network splits; both sides go on; it heals."""

from __future__ import annotations

from gossipkv.demo.stage import Stage


async def partition(stage: Stage) -> None:
    first, second, last = stage.names
    say = stage.say
    await stage.client(first).put("flags", "theme", b"light")
    await stage.until(stage.are_equal, "all hold the same")
    say(f"All hold the same row; fingerprint {await stage.fingerprint(last)} three times.")

    say(f"\nThe network splits: {first} and {second} on one side, {last} alone on the other.")
    stage.wire.split((first, second), (last,))
    await stage.client(first).put("flags", "left", b"written on the left")
    await stage.client(last).put("flags", "right", b"written on the right")
    await stage.client(first).put("flags", "theme", b"dark, from the left")
    await stage.client(last).put("flags", "theme", b"dark, from the right")
    say("Both sides take reads and writes. Each has written a row of its own, and both have changed the same one.")
    for name in stage.names:
        value = await stage.client(name).get("flags", "theme")
        say(f"  {name}: theme is {value.content.decode()!r}, fingerprint {await stage.fingerprint(name)}")

    say("\nThe network heals.")
    stage.wire.heal()
    await stage.until(stage.are_equal, "all hold the same again")
    for name in stage.names:
        rows = [row.row async for page in stage.client(name).pages("flags") for row in page.rows]
        value = await stage.client(name).get("flags", "theme")
        fingerprint = await stage.fingerprint(name)
        say(f"  {name}: rows {', '.join(rows)}; theme is {value.content.decode()!r}, fingerprint {fingerprint}")
    say("Nothing was lost; of the two changes to one row the later one stands everywhere.")
