"""Envelopes to frames and back.

A frame is one byte of protocol version and then a stream of msgpack scalars. First come the envelope's fields, then
for each message its tag and the fields that its layout names. Nothing nests. A list of variable size is
preceded by its count. Numbers in bulk (contexts, dots, sums, leaves) are packed big-endian into one `bin`.
Keys, addresses and values are `bin`; cluster, member and shard are `str`.

Three rules:

- A frame comes from an untrusted source. Any fault in it is a DecodeError, found in time and memory proportional
  to the frame's size. Arrays and maps are refused, because msgpack allocates up to 100,000 times the bytes
  that announce them.
- One bad row affects only itself. If a row of a Delta or of WalkRows is framed correctly but breaks a rule, it is
  left out and named in `refused`. Other rows are decoded. Otherwise one bad record would stop all replication.
- A decoded message satisfies every invariant of its type, so the core need not check again.
"""

from gossipkv.codec.frame import decode, encode
from gossipkv.codec.limits import PROTOCOL_VERSION, DecodeError, Limits

__all__ = ["PROTOCOL_VERSION", "DecodeError", "Limits", "decode", "encode"]
