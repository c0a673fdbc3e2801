"""The network splits, both sides take writes, and the network heals."""

from __future__ import annotations

from gossipkv.demo.stage import Stage


async def partition(stage: Stage) -> None:
    """Show that both sides of a split network take writes, and that all are equal after it heals. Raises
    DemoFailedError."""
    first, second, last = stage.names
    say = stage.say
    await stage.client(first).table("flags").put("theme", b"light")
    await stage.until(stage.are_equal, "all hold the same")
    say(f"All hold the same row; fingerprint {await stage.fingerprint(last)} three times.")

    say(f"\nThe network splits: {first} and {second} on one side, {last} alone on the other.")
    stage.wire.split((first, second), (last,))
    await stage.client(first).table("flags").put("left", b"written on the left")
    await stage.client(last).table("flags").put("right", b"written on the right")
    await stage.client(first).table("flags").put("theme", b"dark, from the left")
    await stage.client(last).table("flags").put("theme", b"dark, from the right")
    say("Both sides take reads and writes. Each has written a row of its own, and both have changed the same row.")
    for name in stage.names:
        value = await stage.value(name, "flags", "theme")
        say(f"  {name}: theme is {value!r}, fingerprint {await stage.fingerprint(name)}")

    say("\nThe network heals.")
    stage.wire.heal()
    await stage.until(stage.are_equal, "all hold the same again")
    for name in stage.names:
        rows = [row.row async for row in stage.client(name).table("flags").range()]
        value = await stage.value(name, "flags", "theme")
        fingerprint = await stage.fingerprint(name)
        say(f"  {name}: rows {', '.join(rows)}; theme is {value!r}, fingerprint {fingerprint}")
    say("No row was lost. Of the two changes to one row, the later one stands everywhere.")
