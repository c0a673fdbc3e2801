"""A receiver that cannot decode some rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from gossipkv.codec.rows import UNDECODABLE
from gossipkv.core.protocol.messages import Delta, Envelope, Message, RefusedRow, ValuePart, WalkRows


def refusing(envelope: Envelope, addresses: Collection[bytes]) -> Envelope:
    """Return the envelope as it is decoded by a member that refuses the rows at these addresses."""
    return replace(envelope, messages=tuple([_refusing(message, addresses) for message in envelope.messages]))


def _refusing(message: Message, addresses: Collection[bytes]) -> Message:
    if not isinstance(message, Delta | WalkRows | ValuePart):
        return message
    contexts = [(copy.address, copy.row.context) for copy in message.rows]
    contexts += [(large.address, large.context) for large in message.large]
    refused = [
        RefusedRow(tuple(sorted(context)), UNDECODABLE, address, context)
        for address, context in contexts
        if address in addresses
    ]
    return replace(
        message,
        rows=tuple([copy for copy in message.rows if copy.address not in addresses]),
        large=tuple([large for large in message.large if large.address not in addresses]),
        refused=(*message.refused, *refused),
    )
