"""A member is killed, the others notice, and it comes back."""

from __future__ import annotations

from gossipkv.core.model.member import ALIVE, DEAD, LEFT
from gossipkv.demo.stage import Stage


async def membership(stage: Stage) -> None:
    """Show how a killed member is found dead, comes back with its disk, and leaves. Raises DemoFailedError."""
    first, *_, last = stage.names
    say = stage.say
    await stage.client(first).table("colours").put("sky", b"blue")
    say(f"{first} has taken a row; all three know each other: {await stage.statuses(first)}.")

    say(f"\n{last} is killed without a word, as by a power cut.")
    await stage.kill(last)
    await stage.until_status(first, last, DEAD)
    say("No message said so: it answered no ping, direct or through the other, and did not refute the suspicion.")
    say(f"So {first} now counts it as dead: {await stage.statuses(first)}.")

    await stage.client(first).table("colours").put("sky", b"grey")
    say(f"Writes go on: {first} has changed the row meanwhile.")

    say(f"\n{last} starts again, with its disk.")
    await stage.start(last)
    await stage.until_status(first, last, ALIVE)
    value = await stage.value(last, "colours", "sky")
    say(f"It is alive again. It was ready only after it had caught up: it answers {value!r}.")

    say(f"\nNow {last} is told to stop, and leaves the cluster.")
    await stage.stop(last)
    await stage.until_status(first, last, LEFT)
    say(f"It has left. Unlike a dead member, it is not looked for: {await stage.statuses(first)}.")
