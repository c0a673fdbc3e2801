"""Envelopes to frames and back.

A frame is one byte of protocol version and then a stream of msgpack scalars: the envelope's fields, and for
each message its tag and the fields that its layout names. Nothing nests. A list of variable size is
preceded by its count; numbers in bulk (contexts, dots, sums, leaves) are packed big-endian into one `bin`.
Keys, addresses and values are `bin`; cluster, member and shard are `str`.

Three rules:

- A frame comes from anywhere. Whatever is wrong with it is a DecodeError, and finding out costs time and
  memory in proportion to its size: arrays and maps, for which msgpack sets aside 100,000 times the bytes
  that announce them, are not taken at all.
- One bad row is one bad row. A row of a Delta or of WalkRows that is framed well but breaks a rule is left
  out and named in `refused`; its neighbours survive. Else one bad record would stop all replication.
- What is decoded holds every invariant that its type states, so that the core need not ask again.
"""

from gossipkv.codec.frame import decode, encode
from gossipkv.codec.limits import PROTOCOL_VERSION, DecodeError, Limits

__all__ = ["PROTOCOL_VERSION", "DecodeError", "Limits", "decode", "encode"]
