"""The context of a row as clients hold it: what a reader has seen, as text that it returns with its write.

The text is base64url without padding of 8-byte numbers: a check that ties it to its row, the greatest timestamp, the
greatest one outranked, then the context in pairs. The check detects a context of another row. Such a context would put
wrong entries into the journal, and rows with wrong entries are not replicated.
"""

from __future__ import annotations

import binascii
import re
import struct
from base64 import urlsafe_b64decode

import xxhash

from gossipkv.core.model.causality import SEQUENCE_MAX, Context
from gossipkv.core.model.row import Seen, StoredRow
from gossipkv.rows.arguments.invalid import InvalidInputError

_HEAD = struct.Struct(">QQQ")
_PAIR = struct.Struct(">QQ")
_PLAIN = struct.Struct(">QQQQQ")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_TEXT = re.compile("[A-Za-z0-9_-]*={0,2}")
_EXPECTED = "is what an answer about the row gave, unchanged"
_ENTRIES_MAX = 400
"""The most entries that fit into a header that a server accepts."""


def text_of(address: bytes, row: StoredRow) -> str:
    check = xxhash.xxh3_64_intdigest(address)
    versions, context = row
    if len(versions) == 1 and len(context) == 1:
        # The usual row, without the detour.
        _, timestamp, _, _, siblings_above = versions[0]
        [entry] = context.items()
        packed = _PLAIN.pack(check, timestamp, timestamp if siblings_above is None else siblings_above, *entry)
    else:
        seen = row.seen
        packed = _HEAD.pack(check, seen.timestamp, seen.siblings_above)
        packed += b"".join([_PAIR.pack(*entry) for entry in seen.context.items()])
    return binascii.b2a_base64(packed, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


def seen_in(text: object, address: bytes) -> Seen:
    """Raises InvalidInputError for a context that is not from a read of this row."""
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise InvalidInputError("context", _EXPECTED)
    try:
        packed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        check, timestamp, siblings_above = _HEAD.unpack_from(packed)
        pairs = list(_PAIR.iter_unpack(packed[_HEAD.size :]))
    except (binascii.Error, ValueError, struct.error):
        raise InvalidInputError("context", _EXPECTED) from None
    context = Context(pairs)
    if check != xxhash.xxh3_64_intdigest(address):
        raise InvalidInputError("context", "is of another row")
    is_sound = siblings_above <= timestamp and len(context) == len(pairs) <= _ENTRIES_MAX
    if not is_sound or not all(1 <= sequence <= SEQUENCE_MAX for sequence in context.values()):
        raise InvalidInputError("context", _EXPECTED)
    return Seen(context, timestamp, siblings_above)
