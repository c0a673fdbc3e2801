"""The messages between members.

Members communicate in exchanges: one member asks with an envelope of messages, and the other answers with another
envelope. Every message is idempotent and safe to lose, repeat, delay and reorder.

| asked | answered |
| --- | --- |
| Digest | Digest alone when in sync, otherwise Digest and State |
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

What a question says of its sender's coverage is a claim that anyone can make in a member's name. Such a claim makes a
round due; only answers count.

Contexts are sent without the entries of retired replicas (`core/protocol/base.py`). Each context names what it omits.
The receiver puts the entries back before it handles a message. A context that it cannot complete is a lower bound.

A sender that is not listed as a member gets the answer Unlisted when it asks for rows of `usr`, or sends some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.collected import NOTHING_COLLECTED, Collected, Proofs
from gossipkv.core.model.fingerprint import Pair
from gossipkv.core.model.lacking import LackedRow
from gossipkv.core.model.room import Room
from gossipkv.core.model.row import StoredRow
from gossipkv.core.protocol.rumours import Rumour


class Range(NamedTuple):
    """The writes of one origin with `after < sequence <= through`."""

    after: int
    through: int


class Cursor(NamedTuple):
    """The progress of a pull: all journal entries of smaller origins, and those of this origin up to the sequence."""

    origin: ReplicaId
    sequence: int


class Position(NamedTuple):
    """The progress of a walk reply in the requested list. The entries before `place` are served, and of the entry at
    `place` the addresses up to `after`."""

    place: int
    after: bytes


class RowCopy(NamedTuple):
    """A row and its address, sent in one piece."""

    address: bytes
    row: StoredRow


class Outline(NamedTuple):
    """A version without its value."""

    dot: Dot
    timestamp: int
    size: int | None
    """The bytes of the value; None for a tombstone."""
    digest: int
    """The xxh3_64 hash of the value; 0 for a tombstone."""
    expires_ms: int | None = None
    siblings_above: int | None = None


class LargeRow(NamedTuple):
    """The outline of a row that is too large for a message. The receiver fetches the values that it lacks."""

    address: bytes
    versions: tuple[Outline, ...]
    context: Context


class RefusedRow(NamedTuple):
    """A row that arrived and could not be taken in. It holds back the ranges of `origins`. None stands for all origins:
    the row's context could not be read."""

    origins: tuple[ReplicaId, ...] | None
    reason: str
    """One of a few fixed words, because it labels a metric."""
    address: bytes | None = None
    """The address; None if it could not be read, or if the row is not to be noted as lacking."""
    context: Context | None = None


@dataclass(frozen=True, slots=True)
class Digest:
    """A summary of a shard. Two members are in sync if context hashes and fingerprints are equal."""

    shard: str
    context_hash: int
    fingerprint: int
    """The root sum over visible versions."""
    rows: int
    tombstones: int
    is_ahead: bool
    """Whether the sender holds rows whose dots its context does not cover yet. Then its fingerprint may differ, without
    a fault, from one of equal context."""
    proofs_hash: int
    """The hash of the proofs of collected tombstones; see `core/model/collected.py`."""
    is_withholding: bool = False
    """Whether the sender still withholds writes of its own (`core/protocol/names.py`). Then a peer that has everything
    the sender mentions is not in sync with it."""
    is_lacking: bool = False
    """Whether the sender lacks rows that it covers; its State says more."""


@dataclass(frozen=True, slots=True)
class State:
    """The whole context of the sender's shard. As a question, it tells a peer that its data are outdated."""

    shard: str
    context: Context
    proofs: Proofs = ()
    """The proofs of collected tombstones; empty if the receiver has the same."""
    lineage: tuple[ReplicaId, ...] = ()
    """The lineage of the sender's data."""
    lacking: Context = field(default_factory=Context)
    """The context up to which the sender covers writes that it may lack."""


@dataclass(frozen=True, slots=True)
class Covered:
    """A statement that the sender durably covers this much, and perhaps more."""

    shard: str
    context: Context
    lacking: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Pull:
    """A request for what this context lacks, from the cursor on."""

    shard: str
    context: Context
    cursor: Cursor | None = None
    lacking: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Delta:
    """The current copies of the rows of all journal entries above each range's `after`, including entries above
    `through`.

    With a cursor, the rows are one part. Then the ranges hold only once all parts have been taken in.
    """

    shard: str
    ranges: dict[ReplicaId, Range]
    rows: tuple[RowCopy, ...]
    cursor: Cursor | None = None
    large: tuple[LargeRow, ...] = ()
    """Rows like the others, named by their outlines. The ranges hold only once these rows have been fetched and taken
    in."""
    lacking: tuple[LackedRow, ...] = ()
    """Rows that the sender lacks, inside the ranges or not."""
    refused: tuple[RefusedRow, ...] = field(default=())
    """Rows that the receiver's decoder refused; never sent."""
    base: int = 0
    """The base of the sender (`core/protocol/base.py`): what the contexts of rows omit."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer: the receiver lacks more than fits into a push, and should pull."""

    shard: str


@dataclass(frozen=True, slots=True)
class TooFar:
    """An answer: the sender's journal cannot tell what the receiver lacks, or a walk is cheaper. The receiver should
    walk."""

    shard: str


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A refusal: rows of this shard are exchanged only with listed members, and the sender does not know the receiver
    as one. Both must sync `sys` first."""

    shard: str


@dataclass(frozen=True, slots=True)
class WalkBegin:
    """A request to begin a walk of the shard."""

    shard: str


@dataclass(frozen=True, slots=True)
class WalkRoot:
    """The sender's present context, and the sums of its 256 nodes."""

    shard: str
    context: Context
    nodes: tuple[Pair, ...]
    collected: Collected = NOTHING_COLLECTED
    """The sender's proofs of collected tombstones."""
    lacking: tuple[LackedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class WalkNodes:
    """A request for the leaf sums of these nodes."""

    shard: str
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WalkSums:
    """The sums of 256 leaves for each requested node, one node after the other."""

    shard: str
    nodes: tuple[int, ...]
    leaves: bytes
    """Both sums of each leaf, as `FingerprintTable.leaves_of` returns them."""


@dataclass(frozen=True, slots=True)
class WalkList:
    """A request for the addresses of the rows in these leaves, and the names and contents of their versions."""

    shard: str
    leaves: tuple[int, ...]
    after: bytes = b""
    """The address in the first leaf behind which the list starts."""


class LeafVersion(NamedTuple):
    """A version by its name and by what it holds."""

    dot: Dot
    term: int
    """The version's term in the fingerprint. It differs for versions with one dot and different contents."""


class LeafEntry(NamedTuple):
    """A row in a list: its address and its versions."""

    address: bytes
    versions: tuple[LeafVersion, ...]


@dataclass(frozen=True, slots=True)
class WalkEntries:
    """The rows in the requested leaves, or the first part of them; then `resume` says how far the list goes."""

    shard: str
    entries: tuple[LeafEntry, ...]
    resume: Position | None


@dataclass(frozen=True, slots=True)
class WalkFetch:
    """A request for all rows of these leaves."""

    shard: str
    leaves: tuple[int, ...]
    after: bytes = b""


@dataclass(frozen=True, slots=True)
class WalkFetchRows:
    """A request for these rows."""

    shard: str
    addresses: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WalkRows:
    """The requested rows, or the first part of them; then `resume` says how far they go."""

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
    """A request for the value of one version of a large row, from an offset on."""

    shard: str
    address: bytes
    dot: Dot
    digest: int
    offset: int


@dataclass(frozen=True, slots=True)
class ValuePart:
    """A fragment of the requested value. If `data` is empty, the sender's row no longer holds that version. Then `rows`
    or `large` has the current row, and neither has one if there is no row."""

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
    """A ping, with rumours about members."""

    rumours: tuple[Rumour, ...] = ()


@dataclass(frozen=True, slots=True)
class PingRequest:
    """A request to ping a member that does not answer the sender. An Ack reports the member's answer."""

    member: str
    rumours: tuple[Rumour, ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """A report that the member has answered. In an answer, the member is the sender itself."""

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
"""The messages about the rows of a shard."""

Message = OfShard | Ping | PingRequest | Ack
"""Any message of an envelope."""


def with_contexts(
    message: Message, change: Callable[[str, Context], Context], change_proofs: Callable[[str, Proofs], Proofs]
) -> Message:
    """Return the message with changed contexts and proofs. The changes are functions of the shard and the present
    value."""
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
    """Return the message with the number of what the contexts of its rows omit."""
    if isinstance(message, Delta | WalkRows | ValuePart) and message.rows and (base := base_of(message.shard)):
        return replace(message, base=base)
    return message


@dataclass(frozen=True, slots=True)
class Envelope:
    """The messages of one direction of an exchange. `now_ms` is the sender's wall clock, for measuring skew."""

    cluster: str
    member: str
    replica: ReplicaId
    incarnation: int
    now_ms: int
    messages: tuple[Message, ...]
    is_ready: bool = True
    """Whether the sender has been brought up to date since it started. Only a sync with such a sender makes another
    member ready."""
    started: int = 0
    """The incarnation of the sender when its process began."""
    token: int = 0
    """The random token of the sender's process; 0 if it has none."""
    born: ReplicaId = 0
    """The replica id of the sender when its process began."""
    endpoint: str = ""
    """The endpoint of the sender; for people to read."""
    is_informed: bool = True
    """Whether the sender knows the settings of tables: it has learned them from others, or had met others before its
    process began."""
    room: Room = Room.AMPLE
    """The level of the sender's storage; in an answer, `NONE` if what was sent did not fit."""
