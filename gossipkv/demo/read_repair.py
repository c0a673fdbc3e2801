"""A member has missed a write, and the read that notices repairs it."""

from __future__ import annotations

from gossipkv.demo.stage import Stage


async def read_repair(stage: Stage) -> None:
    """Show that a read with `r=2` repairs a member that missed a write. Raises DemoFailedError."""
    first, second, last = stage.names
    say = stage.say
    await stage.client(first).table("settings").put("limit", b"10")
    await stage.until(stage.are_equal, "all hold the same")
    say("All hold the same row: limit is 10.")

    say(f"\n{last} is cut off, and misses a change.")
    stage.wire.split((first, second), (last,))
    await stage.client(first).table("settings").put("limit", b"20", w=2)
    stage.wire.heal()
    value = await stage.value(last, "settings", "limit")
    say(f"The network is back. A plain read at {last} answers from its own copy: {value!r}.")

    value = await stage.value(last, "settings", "limit", r=2)
    say(f"A read with r=2 asks another member too, merges, and answers {value!r}.")
    value = await stage.value(last, "settings", "limit")
    say(f"The read has also repaired the copy that was behind: a plain read at {last} now answers {value!r}.")
    await stage.until(stage.are_equal, "all hold the same")
    say("Without that read, the next round of gossip would have brought the row.")
