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
from gossipkv.client.endpoints import is_plain
from gossipkv.client.errors import ClientError, UnavailableError

_TIMEOUT_S = 5.0


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
    def collection_blocked_by(self) -> dict[str, list[str]]:
        """Members for which deleted rows are remembered, and the members that remember them."""
        names = sorted({name for answer in self.members for name in answer.collection_blocked_by})
        return {name: [a.member for a in self.members if name in a.collection_blocked_by] for name in names}

    @property
    def run_twice(self) -> dict[str, str]:
        """Members that run twice according to any member, with the remedy."""
        found = [pair for answer in self.members for pair in answer.run_twice.items()]
        return dict(sorted([*found, *self.told.items()]))


async def survey(client: Client) -> Survey:
    """Ask one server for the members, and each member for its figures. Raises ClientError if no server answers."""
    known = await client.cluster()
    answers = await asyncio.gather(*(_ask(member, known["cluster"]) for member in known["members"]))
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
