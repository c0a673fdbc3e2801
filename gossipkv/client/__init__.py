"""A client of the HTTP API for asyncio."""

from gossipkv.client.client import AsyncClient
from gossipkv.client.errors import (
    ClientError,
    ConditionFailedError,
    NotFoundError,
    RefusedError,
    ServerFailedError,
    UnavailableError,
)
from gossipkv.client.row import BatchResult, Page, Row, Value, value_from_json, value_to_json
from gossipkv.client.watch import Change, Kind, Watch

__all__ = [
    "AsyncClient",
    "BatchResult",
    "Change",
    "ClientError",
    "ConditionFailedError",
    "Kind",
    "NotFoundError",
    "Page",
    "RefusedError",
    "Row",
    "ServerFailedError",
    "UnavailableError",
    "Value",
    "Watch",
    "value_from_json",
    "value_to_json",
]
