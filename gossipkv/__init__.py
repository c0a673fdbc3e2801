"""gossipkv: a key-value store that replicates by gossip. These are its public names.

Each name is imported when it is first used: a program that uses only the client does not import the store.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gossipkv.client import (
        BatchOutcome,
        Change,
        Choice,
        Client,
        ClientError,
        ClockOffError,
        ConditionFailedError,
        ContextAheadError,
        ContextRequiredError,
        DeadlineError,
        Delete,
        InvalidArgumentError,
        Kind,
        NotFoundError,
        OverloadedError,
        Put,
        RefusedError,
        Row,
        ServerFailedError,
        Table,
        TooFewAnswersError,
        TooFewCopiesError,
        TooFewMembersError,
        TooManySiblingsError,
        UnavailableError,
        UnresolvedSiblingsError,
        Watch,
        Written,
    )
    from gossipkv.client.synchronous import SyncClient, SyncTable
    from gossipkv.embedding.embedded import Node, NodeTable

_MODULES = {
    "SyncClient": "gossipkv.client.synchronous",
    "SyncTable": "gossipkv.client.synchronous",
    "Node": "gossipkv.embedding.embedded",
    "NodeTable": "gossipkv.embedding.embedded",
}
"""The modules of some names. All other names are in gossipkv.client."""

__all__ = [
    "BatchOutcome",
    "Change",
    "Choice",
    "Client",
    "ClientError",
    "ClockOffError",
    "ConditionFailedError",
    "ContextAheadError",
    "ContextRequiredError",
    "DeadlineError",
    "Delete",
    "InvalidArgumentError",
    "Kind",
    "Node",
    "NodeTable",
    "NotFoundError",
    "OverloadedError",
    "Put",
    "RefusedError",
    "Row",
    "ServerFailedError",
    "SyncClient",
    "SyncTable",
    "Table",
    "TooFewAnswersError",
    "TooFewCopiesError",
    "TooFewMembersError",
    "TooManySiblingsError",
    "UnavailableError",
    "UnresolvedSiblingsError",
    "Watch",
    "Written",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "gossipkv.client")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
