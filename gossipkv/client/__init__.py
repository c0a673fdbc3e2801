"""A client of the HTTP API, for asyncio and without it."""

from gossipkv.client.batch import BatchOutcome, Delete, Put
from gossipkv.client.client import AsyncClient
from gossipkv.client.cluster_client import Client
from gossipkv.client.endpoints import Choice
from gossipkv.client.errors import (
    ClientError,
    ConditionFailedError,
    DeadlineError,
    NotEnoughMembersError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    ServerFailedError,
    TooFewCopiesError,
    TooManySiblingsError,
    UnavailableError,
    UnresolvedSiblingsError,
)
from gossipkv.client.row import BatchResult, Page, Row, Sibling, Value, Written, value_from_json, value_to_json
from gossipkv.client.table import Table
from gossipkv.client.watch import Change, Kind, Watch

__all__ = [
    "AsyncClient",
    "BatchOutcome",
    "BatchResult",
    "Change",
    "Choice",
    "Client",
    "ClientError",
    "ConditionFailedError",
    "DeadlineError",
    "Delete",
    "Kind",
    "NotEnoughMembersError",
    "NotFoundError",
    "OverloadedError",
    "Page",
    "Put",
    "RefusedError",
    "Row",
    "ServerFailedError",
    "Sibling",
    "Table",
    "TooFewCopiesError",
    "TooManySiblingsError",
    "UnavailableError",
    "UnresolvedSiblingsError",
    "Value",
    "Watch",
    "Written",
    "value_from_json",
    "value_to_json",
]
