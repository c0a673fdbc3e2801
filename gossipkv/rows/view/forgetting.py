"""The forgetting of a member that is gone for good."""

from __future__ import annotations

from typing import Protocol

from gossipkv.core.store.forgotten import Forgotten
from gossipkv.rows.arguments.names import name_text
from gossipkv.rows.errors import ErrorKind, RequestError


class Member(Protocol):
    """What this module asks of a member."""

    async def forget(self, member: str, *, is_forced: bool = False) -> Forgotten: ...


async def forget(member: Member, named: object, *, is_forced: bool) -> None:
    """Let the cluster forget the member of a name. Raises RequestError, InvalidInputError."""
    forgotten = await member.forget(name_text("member", named), is_forced=is_forced)
    if forgotten is not Forgotten.DONE:
        raise RequestError(forgotten.value, kind=_NOT_FORGOTTEN[forgotten])


_NOT_FORGOTTEN = {
    Forgotten.UNKNOWN: ErrorKind.MEMBER_NOT_FOUND,
    Forgotten.ITSELF: ErrorKind.OWN_MEMBER,
    Forgotten.ANSWERS: ErrorKind.MEMBER_ANSWERS,
    Forgotten.LISTED: ErrorKind.MEMBER_LISTED,
    Forgotten.HEARD: ErrorKind.MEMBER_HEARD,
}
