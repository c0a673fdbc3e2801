"""Asks every member for its own status.

One server names the members. Each is then asked at its own HTTP endpoint, because what others know of it may be old.
The endpoints come from records that any peer may have written: one with a path, a query or a password would make this
program send a request of the peer's choice, so it is not asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gossipkv.client.client import Client
from gossipkv.client.errors import ClientError, UnavailableError
from gossipkv.client.servers.endpoints import is_plain

_TIMEOUT_S = 5.0
_LEFT = "left"
_AMPLE = "ample"
_DIFFERENT = "wait some seconds if rows are being written; otherwise see GossipkvNotConverging in the runbook"


@dataclass(frozen=True, slots=True)
class MemberAnswer:
    member: str
    endpoint: str | None
    """The HTTP endpoint asked; None if the member has not published one."""
    status: str
    """The status according to the server that named the members: alive, suspect, dead or left."""
    is_ready: bool
    figures: dict[str, Any] | None
    """The member's own figures per shard; None if it does not answer."""
    failure: str | None
    """Why it does not answer."""
    collection_blocked_by: tuple[str, ...] = ()
    """Members not known to have heard of deletions, which this member therefore remembers."""
    run_twice: Mapping[str, str] = field(default_factory=dict)
    """Members that run twice according to this member, with the remedy."""
    unreadable_rows: int = 0
    unreadable: tuple[dict[str, str], ...] = ()
    """Some of its unreadable rows."""
    alone_seconds: float | None = None
    """Seconds since it last heard another member, or started; None while it is not alone."""
    storage: dict[str, Any] | None = None
    """Its own report on its storage; None if it has none."""
    lacking: tuple[dict[str, str], ...] = ()
    """Rows that it knows of and could not take in, as `/v1/cluster` names them."""
    clock: dict[str, Any] | None = None
    """Its own report on its clock; None if it has none."""
    refusing: tuple[str, ...] = ()
    """Reasons for which it refuses rows of others."""
    descriptors: dict[str, Any] | None = None
    """Its own report on its file descriptors; None if it has none."""
    unreached: tuple[str, ...] = ()
    """Endpoints that its discovery gives and where no member has answered it yet."""

    @property
    def has_left(self) -> bool:
        """Whether it has left, and does not answer."""
        return self.status == _LEFT and self.figures is None

    @property
    def is_clock_off(self) -> bool:
        """Whether it refuses writes because of its clock."""
        return self.clock is not None and bool(self.clock["off"])

    def trouble(self) -> str | None:
        """What is wrong with it, and what to do; None if nothing is."""
        if self.figures is None:
            return (
                f"{self.member} does not answer ({self.failure}): start it, or see whether it can be reached; if it is "
                f"gone for good: gossipkv members forget {self.member}"
            )
        if self.clock is not None and self.is_clock_off:
            apart = age_text(abs(self.clock["ahead_seconds"]))
            side = "ahead of" if self.clock["ahead_seconds"] > 0 else "behind"
            return f"{self.member} refuses writes, because its clock is {apart} {side} the others': set it right"
        if self.storage is not None and self.storage["room"] != _AMPLE:
            return (
                f"{self.member} is short of room, so puts are refused at every member: enlarge the volumes of all "
                "members (and storage_bytes_max), or delete rows"
            )
        if self.descriptors is not None and self.descriptors["short_seconds"] is not None:
            return (
                f"{self.member} has {self.descriptors['open']} of {self.descriptors['limit']} file descriptors open: "
                "raise the limit, or find the client that opens the connections"
            )
        if self.refusing or self.lacking:
            reasons = sorted({*self.refusing, *(row["reason"] for row in self.lacking)})
            return (
                f"{self.member} refuses or lacks rows of others ({', '.join(reasons)}): see GossipkvRowsRefused and "
                "GossipkvRowsLacking in the runbook"
            )
        if self.unreadable_rows:
            remedy = "put or delete them, or reach a member with a copy"
            return f"{self.member} cannot read {self.unreadable_rows:,} rows: {remedy}"
        if self.alone_seconds is not None:
            return f"{self.member} reaches no other member: look at the network and at discovery"
        if not self.is_ready:
            return f"{self.member} is not ready: it has not synced with another member since it started; wait"
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a survey comes to, in one line."""

    ok: bool
    """Whether all members answer and hold the same rows, and none reports trouble."""
    text: str
    """If not `ok`: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Survey:
    cluster: str
    members: list[MemberAnswer]
    told: Mapping[str, str] = field(default_factory=dict)
    """Like `run_twice` of an answer, according to the server that named the members."""

    @property
    def has_converged(self) -> bool:
        """Whether all members that answer hold the same rows."""
        answers = [answer.figures for answer in self.members if answer.figures is not None]
        sums = {tuple(sorted((shard, held["fingerprint"]) for shard, held in each.items())) for each in answers}
        return len(sums) == 1

    @property
    def verdict(self) -> Verdict:
        """Members that have left, and do not answer, do not count."""
        members = [answer for answer in self.members if not answer.has_left]
        answering = sum(answer.figures is not None for answer in members)
        count = f"{answering} of {len(members)} members answer"
        # A wrong clock explains the rows that other members refuse.
        members.sort(key=lambda answer: not answer.is_clock_off)
        troubles = [trouble for answer in members if (trouble := answer.trouble()) is not None]
        troubles += self.run_twice.values()
        if answering and not self.has_converged:
            count += " and do not hold the same rows"
            troubles.append(_DIFFERENT)
        if not members or not troubles:
            return Verdict(bool(members), f"{count} and hold the same rows")
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        return Verdict(False, f"{count}: {troubles[0]}{more}")

    @property
    def collection_blocked_by(self) -> dict[str, list[str]]:
        """Members for which deleted rows are remembered, and the members that remember them."""
        names = sorted({name for answer in self.members for name in answer.collection_blocked_by})
        return {name: [a.member for a in self.members if name in a.collection_blocked_by] for name in names}

    @property
    def unreached(self) -> dict[str, list[str]]:
        """Endpoints where no member has answered, and the members whose discovery gives them."""
        endpoints = sorted({each for answer in self.members for each in answer.unreached})
        return {each: [answer.member for answer in self.members if each in answer.unreached] for each in endpoints}

    @property
    def run_twice(self) -> dict[str, str]:
        """Members that run twice according to any member, with the remedy."""
        found = [pair for answer in self.members for pair in answer.run_twice.items()]
        return dict(sorted([*found, *self.told.items()]))


async def survey(client: Client, *, with_left: bool = False) -> Survey:
    """Ask one server for the members, and each member for its figures; those that have left only on request. Raises
    ClientError if no server answers."""
    known = await client.cluster()
    asked = [member for member in known["members"] if with_left or member["status"] != _LEFT]
    answers = await asyncio.gather(*(_ask(member, known["cluster"]) for member in asked))
    return Survey(known["cluster"], list(answers), _running_twice(known))


def endpoint_of(member: dict[str, Any], protocol: str) -> str | None:
    """The HTTP endpoint in an entry of `/v1/cluster` or a row of `sys.members`."""
    for entry in member["protocols"]:
        if entry["name"] == protocol:
            endpoint: str = entry["endpoint"]
            return endpoint
    return None


async def own_account(client: Client) -> dict[str, Any]:
    """A server's `/v1/cluster`, with its own entry as `own`. Raises ClientError."""
    account = await client.cluster()
    own = next(entry for entry in account["members"] if entry["self"])
    return account | {"own": own}


async def _ask(member: dict[str, Any], cluster: str) -> MemberAnswer:
    name, endpoint, status = member["member"], endpoint_of(member, "http"), member["status"]
    if endpoint is None:
        return MemberAnswer(name, None, status, is_ready=False, figures=None, failure="has told of no HTTP endpoint")
    if not is_plain(endpoint):
        failure = f"the endpoint in its record is not http(s)://host:port, and is not asked: {endpoint}"
        return MemberAnswer(name, endpoint, status, is_ready=False, figures=None, failure=failure)
    try:
        async with Client([endpoint], timeout_s=_TIMEOUT_S, connect_timeout_s=_TIMEOUT_S, passes=1) as client:
            account = await own_account(client)
        if (account["cluster"], account["member"]) != (cluster, name):
            raise UnavailableError(f"{endpoint} is {account['member']} of {account['cluster']} by now")
    except ClientError as error:
        return MemberAnswer(name, endpoint, status, is_ready=False, figures=None, failure=str(error))
    # A member of an earlier version has no such field.
    blocked_by = tuple(account.get("collection", {}).get("blocked_by", ()))
    run_twice = _running_twice(account)
    unreadable = account.get("unreadable", {"rows": 0, "items": []})
    return MemberAnswer(
        name,
        endpoint,
        status,
        account["ready"],
        account["own"]["shards"],
        None,
        blocked_by,
        run_twice,
        unreadable["rows"],
        tuple(unreadable["items"]),
        account.get("alone_seconds"),
        account.get("storage"),
        tuple(account.get("lacking", ())),
        account.get("clock"),
        tuple(account.get("refusing", ())),
        account.get("descriptors"),
        tuple(account.get("unreached", ())),
    )


def _running_twice(account: dict[str, Any]) -> dict[str, str]:
    """The remedy by member; empty for a member of an earlier version."""
    return {each["member"]: each["runs_twice"]["remedy"] for each in account["members"] if each.get("runs_twice")}


def age_text(seconds: float | None) -> str:
    """The age of a figure, for people; `never` for None."""
    if seconds is None:
        return "never"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6_000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
