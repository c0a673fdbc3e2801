"""What members say to each other.

All talk is in exchanges: one member asks with an envelope of messages, the other answers with an envelope of messages.
Every message is idempotent and safe to lose, repeat, delay and reorder.

| asked | answered |
| --- | --- |
| Digest | Digest alone when in sync, else Digest and State |
| Pull | Delta, or TooFar and a Delta of the newest rows |
| Delta | Covered |
| Covered, Offer, State | nothing |
| WalkBegin | WalkRoot |
| WalkNodes | WalkSums |
| WalkList | WalkEntries |
| WalkFetch, WalkFetchRows | WalkRows |
| FetchValue | ValuePart |
| Ping, PingRequest | Ack |
| Ack | nothing |

Contexts travel without the entries of replicas that are gone for long (`core/base.py`). Each names what it leaves out;
the replica puts it back before it handles a message, and a context that it cannot complete is a lower bound.

Whoever is not listed as a member is answered Unlisted where it asks for rows of the users' shard, or sends some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gossipkv.core.causality import Context, Dot, ReplicaId
from gossipkv.core.collected import NOTHING_COLLECTED, Collected, Proofs
from gossipkv.core.fingerprint import Sums
from gossipkv.core.lacking import LackedRow
from gossipkv.core.room import Room
from gossipkv.core.row import Row
from gossipkv.core.rumours import Rumour


class Range(NamedTuple):
    """All of one origin's writes with `after < sequence <= through`."""

    after: int
    through: int


class Cursor(NamedTuple):
    """How far a pull has come: all journal entries of smaller origins, and of this origin up to the sequence."""

    origin: ReplicaId
    sequence: int


class Position(NamedTuple):
    """How far a walk reply has come in the list that was asked for: entries before `place` are served, and of the one
    at `place` the addresses up to `after`."""

    place: int
    after: bytes


class RowCopy(NamedTuple):
    address: bytes
    row: Row


class Outline(NamedTuple):
    """A version without its value."""

    dot: Dot
    timestamp: int
    size: int | None
    """The bytes of the value; None: a tombstone."""
    digest: int
    """xxh3_64 of the value; 0 for a tombstone."""
    expires_ms: int | None = None
    siblings_above: int | None = None


class LargeRow(NamedTuple):
    """A row that is too large for a message, without its values. The receiver fetches those that it lacks."""

    address: bytes
    versions: tuple[Outline, ...]
    context: Context


class RefusedRow(NamedTuple):
    """A row that arrived and could not be taken in. It holds back the ranges of `origins`; of all, when None: its
    context could not be read."""

    origins: tuple[ReplicaId, ...] | None
    reason: str
    """One of a few fixed words: it labels a metric."""
    address: bytes | None = None
    context: Context | None = None
    """If the row can be named."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A shard in a few bytes. In sync: equal context hashes and equal fingerprints."""

    shard: str
    context_hash: int
    fingerprint: int
    """The root sum over visible versions."""
    rows: int
    tombstones: int
    is_ahead: bool
    """The sender holds rows whose dots its context does not cover yet: its fingerprint may differ legitimately from
    one of equal context."""
    proofs_hash: int
    """Of the proofs of what has been collected; see `core/collected.py`."""
    is_withholding: bool = False
    """The sender does not tell yet what it has written itself (`core/names.py`): to have all that it tells of is not
    to be in sync with it."""
    is_lacking: bool = False
    """The sender could not take in rows that it covers: its state says more."""


@dataclass(frozen=True, slots=True)
class State:
    """The whole context of the sender's shard. Asked, it tells a peer that its data are outdated."""

    shard: str
    context: Context
    proofs: Proofs = ()
    """Of what has been collected; left out if the receiver has the same."""
    lineage: tuple[ReplicaId, ...] = ()
    """Of the sender's data."""
    lacking: Context = field(default_factory=Context)
    """The sender covers writes up to here that it may lack."""


@dataclass(frozen=True, slots=True)
class Covered:
    """The sender durably covers this much, and perhaps more."""

    shard: str
    context: Context
    lacking: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Pull:
    """Send what this context lacks, from the cursor on."""

    shard: str
    context: Context
    cursor: Cursor | None = None
    lacking: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Delta:
    """The current copies of all journal entries above each range's `after`, those above its `through` included.

    With a cursor the rows are a part; the ranges then hold only once all parts have been taken in.
    """

    shard: str
    ranges: dict[ReplicaId, Range]
    rows: tuple[RowCopy, ...]
    cursor: Cursor | None = None
    large: tuple[LargeRow, ...] = ()
    """Rows like the others: the ranges hold only once these have been fetched and taken in."""
    lacking: tuple[LackedRow, ...] = ()
    """Rows that the sender lacks, of the ranges and others."""
    refused: tuple[RefusedRow, ...] = field(default=())
    """Rows that the receiver's decoder refused; never sent."""
    base: int = 0
    """What the contexts of rows leave out: the base of the sender (`core/base.py`)."""


@dataclass(frozen=True, slots=True)
class Offer:
    """You lack more than fits into a push: pull from me."""

    shard: str


@dataclass(frozen=True, slots=True)
class TooFar:
    """My journal cannot tell, or not cheaply, what your context lacks: walk my shard."""

    shard: str


@dataclass(frozen=True, slots=True)
class Unlisted:
    """Rows of this shard go to and come from listed members alone, and I do not know you for one: let us sync `sys`
    first."""

    shard: str


@dataclass(frozen=True, slots=True)
class WalkBegin:
    shard: str


@dataclass(frozen=True, slots=True)
class WalkRoot:
    """The sender's context now, and the sums of its 256 nodes."""

    shard: str
    context: Context
    nodes: tuple[Sums, ...]
    collected: Collected = NOTHING_COLLECTED
    """What the sender remembers of tombstones that are gone."""
    lacking: tuple[LackedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class WalkNodes:
    """Asks for the leaf sums of these nodes."""

    shard: str
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WalkSums:
    """The sums of 256 leaves for each node asked for, one after the other."""

    shard: str
    nodes: tuple[int, ...]
    leaves: tuple[Sums, ...]


@dataclass(frozen=True, slots=True)
class WalkList:
    """Asks for the addresses, dots and contents in these leaves."""

    shard: str
    leaves: tuple[int, ...]
    after: bytes = b""
    """Start behind this address in the first leaf."""


class LeafVersion(NamedTuple):
    """A version by its name and by what it holds."""

    dot: Dot
    term: int
    """Its term in the fingerprint: versions of one dot and other contents differ in it."""


class LeafEntry(NamedTuple):
    address: bytes
    versions: tuple[LeafVersion, ...]


@dataclass(frozen=True, slots=True)
class WalkEntries:
    shard: str
    entries: tuple[LeafEntry, ...]
    resume: Position | None


@dataclass(frozen=True, slots=True)
class WalkFetch:
    """Asks for all rows of these leaves."""

    shard: str
    leaves: tuple[int, ...]
    after: bytes = b""


@dataclass(frozen=True, slots=True)
class WalkFetchRows:
    """Asks for these rows."""

    shard: str
    addresses: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WalkRows:
    shard: str
    rows: tuple[RowCopy, ...]
    resume: Position | None
    large: tuple[LargeRow, ...] = ()
    base: int = 0
    """See `Delta`."""
    refused: tuple[RefusedRow, ...] = field(default=())
    """Rows that the receiver's decoder refused; never sent."""


@dataclass(frozen=True, slots=True)
class FetchValue:
    """Asks for the value of one version of a large row, from an offset on."""

    shard: str
    address: bytes
    dot: Dot
    digest: int
    offset: int


@dataclass(frozen=True, slots=True)
class ValuePart:
    """Bytes of the value that was asked for. If there are none the sender's row no longer holds that version: `rows`
    or `large` has the row as it stands, or neither if there is no row."""

    shard: str
    address: bytes
    dot: Dot
    offset: int
    data: bytes
    rows: tuple[RowCopy, ...] = ()
    large: tuple[LargeRow, ...] = ()
    base: int = 0
    """See `Delta`."""
    refused: tuple[RefusedRow, ...] = field(default=())
    """Rows that the receiver's decoder refused; never sent."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? And this is said of members."""

    rumours: tuple[Rumour, ...] = ()


@dataclass(frozen=True, slots=True)
class PingRequest:
    """Ping that member, which does not answer me, and tell me with an Ack if it answers you."""

    member: str
    rumours: tuple[Rumour, ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """That member has answered; it is the sender itself where this is an answer."""

    member: str
    rumours: tuple[Rumour, ...] = ()


OfShard = (
    Digest
    | State
    | Covered
    | Pull
    | Delta
    | Offer
    | TooFar
    | Unlisted
    | WalkBegin
    | WalkRoot
    | WalkNodes
    | WalkSums
    | WalkList
    | WalkEntries
    | WalkFetch
    | WalkFetchRows
    | WalkRows
    | FetchValue
    | ValuePart
)
"""What concerns the rows of a shard."""

Message = OfShard | Ping | PingRequest | Ack


def with_contexts(
    message: Message, change: Callable[[str, Context], Context], change_proofs: Callable[[str, Proofs], Proofs]
) -> Message:
    """The message with other contexts and proofs, made of its shard and those that it has."""
    match message:
        case State(shard=shard, context=context, proofs=proofs):
            return replace(message, context=change(shard, context), proofs=change_proofs(shard, proofs))
        case Covered(shard=shard, context=context) | Pull(shard=shard, context=context):
            return replace(message, context=change(shard, context))
        case WalkRoot(shard=shard, context=context, collected=collected):
            collected = collected._replace(proofs=change_proofs(shard, collected.proofs))
            return replace(message, context=change(shard, context), collected=collected)
        case _:
            return message


def with_base(message: Message, base_of: Callable[[str], int]) -> Message:
    """The message with what the contexts of its rows leave out."""
    if isinstance(message, Delta | WalkRows | ValuePart) and message.rows and (base := base_of(message.shard)):
        return replace(message, base=base)
    return message


@dataclass(frozen=True, slots=True)
class Envelope:
    """One direction of an exchange. `now_ms` is the sender's wall clock, for measuring skew."""

    cluster: str
    member: str
    replica: ReplicaId
    incarnation: int
    now_ms: int
    messages: tuple[Message, ...]
    is_ready: bool = True
    """Whether the sender has been brought up to date since it started: a sync with it then brings another up to date
    too, which one between two newcomers does not."""
    started: int = 0
    """The incarnation of the sender when its process began."""
    token: int = 0
    """Drawn by the sender's process when it began; 0: none."""
    born: ReplicaId = 0
    """The replica id of the sender when its process began."""
    endpoint: str = ""
    """Where the sender is reached; for people to read."""
    is_informed: bool = True
    """Whether a sync of `sys` with the sender tells the settings of tables: it has learned them from others itself, or
    had met others before its process began."""
    room: Room = Room.AMPLE
    """How much room the sender's storage has left; in an answer, `NONE` where what was sent did not fit."""
