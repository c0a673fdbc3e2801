"""The namespaces: which there are, and which of them clients write to."""

from __future__ import annotations

from gossipkv.core.model.address import NAMESPACES, SYSTEM
from gossipkv.rows.arguments.names import namespace_text
from gossipkv.rows.errors import ErrorKind, RequestError


def known_namespace(namespace: object) -> str:
    """The namespace, if there is such a one. Raises RequestError, InvalidInputError."""
    if isinstance(namespace, str) and namespace in NAMESPACES:
        return namespace
    namespace_text(namespace)
    known = " and ".join(f"`{each}`" for each in NAMESPACES)
    raise RequestError(f"the namespaces are {known}", kind=ErrorKind.UNKNOWN_NAMESPACE)


def writable_namespace(namespace: str) -> str:
    """The namespace, if clients write to it. Raises RequestError."""
    if namespace == SYSTEM:
        detail = f"`{SYSTEM}` is written by the store itself; write to `usr`"
        raise RequestError(detail, kind=ErrorKind.READ_ONLY_NAMESPACE)
    return namespace
