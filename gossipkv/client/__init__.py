"""A client of the HTTP API, for asyncio and without it."""

from gossipkv.client.client import Client
from gossipkv.client.errors import (
    ClientError,
    ClockOffError,
    ConditionFailedError,
    ContextAheadError,
    ContextRequiredError,
    DeadlineError,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    ServerFailedError,
    TooFewAnswersError,
    TooFewCopiesError,
    TooFewMembersError,
    TooManySiblingsError,
    UnavailableError,
    UnresolvedSiblingsError,
)
from gossipkv.client.servers.endpoints import Choice
from gossipkv.client.tables.batch import BatchOutcome, Delete, Put
from gossipkv.client.tables.row import value_from_json, value_to_json
from gossipkv.client.tables.table import Table
from gossipkv.client.tables.watch import Change, Kind, Watch
from gossipkv.rows.row import Row, Written

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
    "NotFoundError",
    "OverloadedError",
    "Put",
    "RefusedError",
    "Row",
    "ServerFailedError",
    "Table",
    "TooFewAnswersError",
    "TooFewCopiesError",
    "TooFewMembersError",
    "TooManySiblingsError",
    "UnavailableError",
    "UnresolvedSiblingsError",
    "Watch",
    "Written",
    "value_from_json",
    "value_to_json",
]
