"""What the results and the failures of a member mean to its clients."""

from __future__ import annotations

from gossipkv.core.model.write import (
    CATCHING_UP,
    CONTEXT_AHEAD,
    CONTEXT_REQUIRED,
    CONTEXT_UNKNOWN,
    NO_ROOM,
    ROW_TOO_LARGE,
    TOO_MANY_SIBLINGS,
    UNREADABLE,
    Declined,
    NotMatched,
    Result,
    StoredWrite,
)
from gossipkv.core.protocol.parcel import ROW_BYTES_MAX
from gossipkv.core.store.storage import (
    PutDelayedError,
    PutRefusedError,
    StorageError,
    StorageFailedError,
    StorageFullError,
    UnreadableRowError,
)
from gossipkv.rows.errors import ErrorKind, RequestError

_DECLINED = {
    TOO_MANY_SIBLINGS: (
        ErrorKind.TOO_MANY_SIBLINGS,
        "the row has as many values at once as it may: read it, and write what you make of them with its context",
    ),
    CONTEXT_REQUIRED: (
        ErrorKind.CONTEXT_REQUIRED,
        "the table keeps siblings, and a delete removes what its writer has read: give the context of a read, or its "
        "etag as the condition",
    ),
    CATCHING_UP: (
        ErrorKind.OVERLOADED,
        "rows that are on their way to all members may take the room that is left: try again in a moment",
    ),
    NO_ROOM: (
        ErrorKind.STORAGE_FULL,
        "there is no room for this put: reads and deletes go on; enlarge the volumes of all members, or delete rows",
    ),
    ROW_TOO_LARGE: (
        ErrorKind.ROW_TOO_LARGE,
        f"with this value the row would hold more than {ROW_BYTES_MAX} bytes, the most that members can give to each "
        "other: read it, and write what you make of its values with its context, or put them into several rows",
    ),
    CONTEXT_AHEAD: (
        ErrorKind.CONTEXT_AHEAD,
        "what the context names is further ahead than this member's clock allows: try again, or write at the member "
        "that you read from",
    ),
    CONTEXT_UNKNOWN: (
        ErrorKind.CONTEXT_AHEAD,
        "the context names writes that this member has not seen: try again in a moment, or write at the member that "
        "you read from; if that goes on, read the row again, for the writes may be lost",
    ),
}


def written(result: Result) -> StoredWrite:
    """The write, if it was stored. Raises RequestError."""
    if isinstance(result, StoredWrite):
        return result
    raise refused(result)


def refused(result: NotMatched | Declined) -> RequestError:
    """Why a write was not stored."""
    if isinstance(result, NotMatched):
        return condition_failed(result.etag)
    if result.reason == UNREADABLE:
        return row_unreadable("the condition is about a row that cannot be read here")
    kind, detail = _DECLINED[result.reason]
    return RequestError(detail, kind=kind, etag=result.etag, siblings=result.siblings)


def condition_failed(etag: str | None) -> RequestError:
    """A failed condition. `etag` is the row's current etag; None if there is no row."""
    detail = "the row does not exist" if etag is None else "the row has another version than the condition asks for"
    return RequestError(detail, kind=ErrorKind.PRECONDITION_FAILED, etag=etag)


def row_unreadable(reason: str) -> RequestError:
    return RequestError(
        f"{reason}; another member may have the row, and a put or delete without a condition replaces it",
        kind=ErrorKind.ROW_UNREADABLE,
    )


def request_error_of(error: Exception) -> RequestError | None:
    """What a client is told of an error that a member raised; None if the error is a bug, which must be logged."""
    match error:
        case RequestError():
            return error
        case PutDelayedError():
            return RequestError(str(error), kind=ErrorKind.OVERLOADED)
        case PutRefusedError():
            return RequestError(str(error), kind=ErrorKind.STORAGE_FULL)
        case StorageFullError():
            detail = "there is no room for this write; reads go on, and deletes make room"
            return RequestError(detail, kind=ErrorKind.STORAGE_FULL)
        case StorageFailedError():
            detail = "the volume has failed; the member takes no writes until it is restarted"
            return RequestError(detail, kind=ErrorKind.STORAGE_FAILED)
        case UnreadableRowError():
            return row_unreadable(error.reason)
        case StorageError():
            return RequestError("the storage cannot be read now", kind=ErrorKind.OVERLOADED)
        case TimeoutError():
            return RequestError("the storage has not answered in time", kind=ErrorKind.STORAGE_STUCK)
        case _:
            return None
