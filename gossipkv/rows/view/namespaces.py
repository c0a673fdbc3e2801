"""The namespaces: which there are, and which of them clients write to."""

from __future__ import annotations

from gossipkv.core.model.address import NAMESPACES, SYSTEM
from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.errors import ErrorKind, RequestError


def known_namespace(namespace: object) -> str:
    """The namespace, if there is such a one. Raises RequestError, InvalidInputError."""
    if not isinstance(namespace, str):
        raise InvalidInputError("namespace", f"is text, not {shown(namespace)}")
    if namespace not in NAMESPACES:
        known = " and ".join(f"`{each}`" for each in NAMESPACES)
        raise RequestError(f"the namespaces are {known}", kind=ErrorKind.UNKNOWN_NAMESPACE)
    return namespace


def writable_namespace(namespace: str) -> str:
    """The namespace, if clients write to it. Raises RequestError."""
    if namespace == SYSTEM:
        detail = f"`{SYSTEM}` is written by the store itself; write to `usr`"
        raise RequestError(detail, kind=ErrorKind.READ_ONLY_NAMESPACE)
    return namespace
