"""Writes that must be on two members, while one member is down and then while two are."""

from __future__ import annotations

from gossipkv.client import TooFewCopiesError, TooFewMembersError
from gossipkv.core.model.member import DEAD
from gossipkv.demo.stage import Stage


async def quorum(stage: Stage) -> None:
    """Show which writes with `w=2` and reads with `r=2` succeed while members are down. Raises DemoFailedError."""
    first, second, last = stage.names
    say = stage.say
    say("Each write asks for w=2: it is answered once two members have it on disk.")
    written = await stage.client(first).table("orders").put("1001", b"paid", w=2)
    say(f"All are up: written. Its receipt is {written.receipt}.")

    say(f"\n{last} is killed.")
    await stage.kill(last)
    written = await stage.client(first).table("orders").put("1002", b"paid", w=2)
    coverage = await stage.client(first).receipt(written.receipt or "")
    say(f"Two are left, which is enough: written, and {coverage['copies']} members have it.")
    value = await stage.value(second, "orders", "1002", r=2)
    say(f"A read that asks two members (r=2) reaches one that has the write, because 2 + 2 > 3: {value!r}.")

    say(f"\n{second} is killed as well.")
    await stage.kill(second)
    await _write_in_vain(stage, f"{first} does not know that yet. A write")
    for gone in (second, last):
        await stage.until_status(first, gone, DEAD)
    await _write_in_vain(stage, f"{first} has noticed that both are dead. The next write")
    await stage.client(first).table("orders").put("1004", b"paid")
    say(f"A write that asks only for {first} itself (w=1) succeeds as always.")

    say("\nBoth start again.")
    await stage.start(second)
    await stage.start(last)
    await stage.until(stage.are_equal, "all hold the same")
    rows = [row.row async for row in stage.client(last).table("orders").range()]
    say(f"All hold the same: rows {', '.join(rows)}.")


async def _write_in_vain(stage: Stage, which: str) -> None:
    first = stage.names[0]
    try:
        await stage.client(first).table("orders").put("1003", b"paid", w=2, write_wait="1s")
    except TooFewCopiesError as error:
        stage.say(f"{which} waits for 1 s and is refused, but it is stored here: {error}")
    except TooFewMembersError as error:
        stage.say(f"{which} waits for 1 s and is refused; it is not stored anywhere: {error}")
    else:
        stage.say(f"{which} was taken.")
