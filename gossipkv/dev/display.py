"""What `gossipkv dev` shows: a live table on a terminal; otherwise, lines on changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gossipkv.client.survey import age_text
from gossipkv.dev.supervisor import ENDED, READY, MemberSight
from gossipkv.rows.escapes import escaped

Show = Callable[[list[MemberSight]], None]

_COLOURS = {READY: "green", ENDED: "red"}


@contextmanager
def live_table() -> Iterator[Show]:
    """Show the members as a table that is replaced on each call."""
    with Live(auto_refresh=False) as live:
        yield lambda sights: live.update(_rendered(sights), refresh=True)


def lines(say: Callable[[str], None]) -> Show:
    """Return a function that says a line when a member's state changes, and one when all hold the same rows for the
    first time."""
    states: dict[str, str] = {}
    has_converged = False

    def show(sights: list[MemberSight]) -> None:
        nonlocal has_converged
        for sight in sights:
            line = _line(sight)
            if states.get(sight.member.name) != line:
                states[sight.member.name] = line
                say(line)
        if not has_converged and _is_converged(sights):
            has_converged = True
            say(f"all {len(sights)} members are ready and hold the same rows")

    return show


def ending(exit_code: int | None) -> str:
    """Return how a process ended, in words: by signal if the code is negative, unspecified if it is None."""
    if exit_code is None:
        return "ended"
    return f"ended by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"


def _line(sight: MemberSight) -> str:
    member = sight.member
    if sight.state == ENDED:
        return (
            f"{member.name} {ending(sight.exit_code)}; its log is {member.log}; "
            f"this starts it again: {member.start_command}"
        )
    who = f"pid {sight.pid}" if sight.pid else "started by hand"
    return f"{member.name} {sight.state}, {who}, {member.url}"


def _is_converged(sights: list[MemberSight]) -> bool:
    sums = {
        tuple((shard, held["fingerprint"]) for shard, held in sorted((sight.shards or {}).items())) for sight in sights
    }
    return len(sums) == 1 and all(sight.state == READY for sight in sights)


def _rendered(sights: list[MemberSight]) -> Group:
    table = Table("member", "http", "pid", "state", "rows", "behind", "fingerprint", "last sync", box=box.SIMPLE_HEAD)
    for sight in sights:
        state = Text(sight.state, style=_COLOURS.get(sight.state, "yellow"))
        pid = str(sight.pid) if sight.pid else ("" if sight.state == ENDED else "by hand")
        table.add_row(sight.member.name, str(sight.member.http_port), pid, state, *_figures(sight))
    remarks = [Text(_line(sight), style="red") for sight in sights if sight.state == ENDED]
    return Group(table, *remarks)


def _figures(sight: MemberSight) -> tuple[str, str, str | Text, str]:
    if sight.shards is None:
        return ("", "", "", "")
    user, system = sight.shards["usr"], sight.shards["sys"]
    behind = user["rows_behind"] + system["rows_behind"]
    # Another server may listen on the port of a member, so what it says is escaped.
    fingerprint = Text(escaped(str(user["fingerprint"])))
    return (f"{user['rows']:,}", f"{behind:,}", fingerprint, age_text(user["last_sync_seconds"]))
