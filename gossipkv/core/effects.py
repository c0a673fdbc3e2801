"""The effects of a step of the core: what the driver does once the step is durable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from gossipkv.core.model.tally import Notice
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.store.changes import Changes
from gossipkv.core.store.snapshot import ReplicaSnapshot
from gossipkv.core.waits.answers import Resolved

Content = TypeVar("Content")


class Send(NamedTuple, Generic[Content]):
    """An exchange to begin. The driver reports its end by `answered` or `failed` with the same number."""

    exchange: int
    endpoint: str
    content: Content
    """The envelope, from the core; its frame, once encoded."""
    timeout_ms: int | None = None
    """No answer is of use later; None: the transport's own bound."""


class Arrival(NamedTuple):
    """A version from another member, seen here for the first time; measures the replication delay."""

    origin: str
    """The member that wrote it, or `unknown`."""
    written_ms: int


@dataclass(slots=True)
class Effects:
    sends: list[Send[Envelope]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    resolved: list[Resolved] = field(default_factory=list)
    """Waits that are over."""
    changes: list[Changes] = field(default_factory=list)
    """Only while there are watchers."""
    is_fenced: bool = False
    """Whether the data are outdated. The driver then sets them aside and starts again without data."""
    deadline_ms: int | None = None
    """The earliest deadline of a wait, by the member's clock; None: no wait has one. A batch is due then."""
    snapshot: ReplicaSnapshot | None = None
    """The snapshot after the batch; None: unchanged, because nothing of the batch was stored."""
