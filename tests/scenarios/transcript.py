"""Scenarios as transcripts: a command on a line, `----`, and what it says, up to an empty line. `#` begins a comment.

| command | does |
| --- | --- |
| members a b ... [option=number ...] | start members, let them find each other, settle |
| join c a | start a new member that has discovered one other |
| put a table/row=value | write; nothing is delivered by itself |
| delete a table/row | |
| fill a 20 | put table/row01 to table/row20 in one batch |
| prepare a table/row=value | write without committing: the process is between the core and its disk |
| deliver a b | carry out, there and back, the exchange that a has begun with b |
| drop a b | lose it |
| waiting | exchanges that have been begun |
| tick a 1000 | let so many milliseconds pass for all, then tick a |
| clock a 60000 | set a's clock so far ahead, in milliseconds |
| crash a, start a | the process dies, and starts on what it had committed |
| settle | deliver and tick until all members are equal |
| state | rows and contexts of all members |

The first member is replica 1, the second 2: `a3` is the third write of replica a. Members begin with the same `sys`;
messages about it flow as well and are left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gossipkv.core.inputs import Discovered, Write
from gossipkv.core.model.address import USER, address_of, key_of, table_of
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.write import Operation, Result, StoredWrite
from gossipkv.core.protocol import messages
from gossipkv.core.protocol.messages import Cursor, Envelope, Message, RowCopy
from gossipkv.storage.memory import MemoryStorage
from tests.core.cluster import Cluster, endpoint_of

PROBES = (messages.Ping, messages.PingRequest, messages.Ack)
ROWS_SHOWN_MAX = 8


def retold(told: str) -> str:
    """The scenario with what its commands say now."""
    transcript = Transcript()
    lines: list[str] = []
    is_output = False
    commands: list[str] = []
    for line in told.splitlines():
        if line == "----":
            lines += ["----", *transcript.perform("\n".join(commands))]
            commands, is_output = [], True
        elif is_output:
            if not line:
                lines.append("")
                is_output = False
        else:
            lines.append(line)
            if line and not line.startswith("#"):
                commands.append(line)
    assert not commands, f"no ---- after {commands}"
    return "\n".join(lines) + "\n"


class Transcript:
    """One scenario under way."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self._disks: dict[str, MemoryStorage] = {}
        self._settings: dict[str, Any] = {}

    def perform(self, commands: str) -> list[str]:
        """What the commands say, one per line."""
        said: list[str] = []
        for command in commands.splitlines():
            verb, *words = command.split()
            method = getattr(self, f"_do_{verb}", None)
            if method is None:
                raise ValueError(f"no such command: {command}")
            said += method(*words)
        return said or ["ok"]

    # Members

    def _do_members(self, *words: str) -> list[str]:
        names = [word for word in words if "=" not in word]
        pairs = (word.split("=") for word in words if "=" in word)
        self._settings = {"audit_interval_ms": 10**9, **{name: int(number) for name, number in pairs}}
        for name in names:
            self._disks[name] = self.cluster.start(name, **self._settings).storage
        self.cluster.introduce(*names)
        self.cluster.settle()
        return []

    def _do_join(self, name: str, contact: str) -> list[str]:
        self._disks[name] = self.cluster.start(name, **self._settings).storage
        self.cluster.run(name, Discovered((endpoint_of(contact),)))
        return self._do_waiting()

    def _do_crash(self, name: str) -> list[str]:
        self.cluster.crash(name)
        return []

    def _do_start(self, name: str) -> list[str]:
        self.cluster.start(name, self._disks[name], **self._settings)
        return []

    def _do_clock(self, name: str, ahead_ms: str) -> list[str]:
        self.cluster.members[name].clock_ahead_ms = int(ahead_ms)
        return []

    def _do_tick(self, name: str, passed_ms: str) -> list[str]:
        self.cluster.now_ms += int(passed_ms)
        self.cluster.tick(name)
        return self._do_waiting()

    def _do_settle(self) -> list[str]:
        self.cluster.settle()
        return []

    # Writes

    def _do_put(self, name: str, assignment: str) -> list[str]:
        return self._write(name, self._operation(assignment))

    def _do_delete(self, name: str, row: str) -> list[str]:
        return self._write(name, self._operation(row))

    def _do_fill(self, name: str, count: str) -> list[str]:
        operations = [self._operation(f"table/row{number:02}=old") for number in range(1, int(count) + 1)]
        self.cluster.write(name, *operations)
        return []

    def _do_prepare(self, name: str, assignment: str) -> list[str]:
        member = self.cluster.members[name]
        prepared = next(member.driver.steps([Write(USER, (self._operation(assignment),))], self.cluster.now_ms))
        [results] = prepared.batch.outcomes
        assert isinstance(results, list)
        return [f"not committed: {self._result(result)}" for result in results]

    def _operation(self, text: str) -> Operation:
        row, is_put, value = text.partition("=")
        table, slash, key = row.partition("/")
        assert slash, f"not table/row: {row}"
        return Operation(address_of(table, key.encode()), value.encode() if is_put else None)

    def _write(self, name: str, operation: Operation) -> list[str]:
        results = self.cluster.answer_to(name, Write(USER, (operation,)))
        assert isinstance(results, list)
        return [self._result(result) for result in results]

    def _result(self, result: Result) -> str:
        assert isinstance(result, StoredWrite)
        return f"written as {self._covers({result.dot.replica: result.dot.sequence})}"

    # Exchanges

    def _do_deliver(self, source: str, target: str) -> list[str]:
        asked, answer = self.cluster.deliver(source, target)
        said = self._say(f"{source} to {target}", asked)
        return said + (self._say(f"{target} to {source}", answer) if isinstance(answer, Envelope) else [str(answer)])

    def _do_drop(self, source: str, target: str) -> list[str]:
        return self._say(f"{source} to {target}, lost", self.cluster.drop(source, target))

    def _do_waiting(self) -> list[str]:
        return [
            line
            for name, member in sorted(self.cluster.members.items())
            for send in member.outbox
            for line in self._say(f"{name} to {send.endpoint.removeprefix('memory://')}, under way", send.content)
        ]

    def _say(self, direction: str, envelope: Envelope) -> list[str]:
        """Pings are left out: they stand in no order with what is told here."""
        told = [message for message in envelope.messages if not isinstance(message, PROBES)]
        said = [self._message(message) for message in told if message.shard == USER]
        if envelope.messages and not told:
            return []
        return [f"{direction}: {text}" for text in said] or [f"{direction}: (sys alone)"]

    def _message(self, message: Message) -> str:
        match message:
            case messages.Digest():
                return f"digest, {message.rows} rows, {message.tombstones} tombstones"
            case messages.State() | messages.Covered():
                return f"{type(message).__name__.lower()}, {self._covers(message.context)}"
            case messages.Pull():
                return f"pull beyond {self._covers(message.context)}{self._from(message.cursor)}"
            case messages.Delta():
                ranges = [f"{self._name(o)} {r.after}..{r.through}" for o, r in sorted(message.ranges.items())]
                more = f", more{self._from(message.cursor)}" if message.cursor else ""
                return f"delta [{', '.join(ranges)}] {self._copies(message.rows)}{more}"
            case messages.Offer():
                return "offer to pull"
            case messages.TooFar():
                return "too far"
            case messages.WalkBegin():
                return "walk"
            case messages.WalkRoot():
                return f"walk root, {self._covers(message.context)}"
            case messages.WalkNodes() | messages.WalkSums():
                what = "sums of" if isinstance(message, messages.WalkSums) else "asks for"
                return f"walk {what} {len(message.nodes)} nodes"
            case messages.WalkList() | messages.WalkFetch():
                what = "dots" if isinstance(message, messages.WalkList) else "rows"
                return f"walk asks for {what} of {len(message.leaves)} leaves"
            case messages.WalkFetchRows():
                return f"walk asks for {len(message.addresses)} rows"
            case messages.WalkEntries():
                return f"walk dots of {len(message.entries)} rows"
            case messages.WalkRows():
                return f"walk rows {self._copies(message.rows)}{', more' if message.resume else ''}"
            case _:
                raise AssertionError(f"no words for {message}")

    # Words

    def _do_state(self) -> list[str]:
        lines = []
        for name, member in sorted(self.cluster.members.items()):
            rows = [RowCopy(address, row) for address, row in sorted(member.rows().items())]
            lines.append(f"{name}: {self._copies(tuple(rows))}; covers {self._covers(member.context())}")
        shards = [member.driver.replica.shards[USER] for member in self.cluster.members.values()]
        is_same = len({shard.fingerprint.root.visible for shard in shards}) == 1
        return [*lines, f"fingerprints {'are equal' if is_same else 'differ'}"]

    def _copies(self, copies: tuple[RowCopy, ...]) -> str:
        if len(copies) > ROWS_SHOWN_MAX:
            return f"({len(copies)} rows)"
        return " ".join(self._copy(address, row) for address, row in copies) or "(no rows)"

    def _copy(self, address: bytes, row: StoredRow) -> str:
        value = " deleted" if row.winner.value is None else f"={row.winner.value.decode()}"
        return f"{table_of(address)}/{key_of(address).decode()}{value} ({self._covers(dict([row.winner.dot]))})"

    def _covers(self, context: Mapping[ReplicaId, int]) -> str:
        return (
            " ".join(f"{self._name(replica)}{sequence}" for replica, sequence in sorted(context.items())) or "nothing"
        )

    def _from(self, cursor: Cursor | None) -> str:
        return f" from {self._name(cursor.origin)}{cursor.sequence}" if cursor else ""

    def _name(self, replica: ReplicaId) -> str:
        return self.cluster.names[replica]
