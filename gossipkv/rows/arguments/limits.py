"""Ranges of what rows and requests may hold; every number with its unit."""

from __future__ import annotations

ROW_KEY_BYTES_MAX = 400
"""Bounded by LMDB's 511-byte keys, which also hold the shard, the table and the leaf."""

NAME_BYTES_MAX = 255
"""Of names of members and clusters, which stand as text in messages."""

ENDPOINT_BYTES_MAX = 1024
"""Of an address that others are reached at, which stands in the records of members."""

LIFE_MS_MAX = 100 * 366 * 86_400_000
"""The longest life of a row, a century: the time at which it ends fits wherever times are kept."""

WAIT_MS_MAX = 3_600_000
"""The longest wait that a request may ask for."""

COPIES_MAX = 1_000
"""The most members that a request or a table's settings may ask for."""

HEADER_CHARS_MAX = 16 * 1024
"""Of a context or a condition. The longest context takes half of it, and a server's limit of a header is
twice as much."""

EVENT_ID_CHARS_MAX = 1024 * 1024
"""Of an event id that a program gives. Ids that are longer than those of this version mean a reset."""

RECEIPT_CHARS_MAX = 256
"""Of a receipt, which stands in a path; a true one has at most 40."""

PAGE_ROWS_MAX = 10_000
"""The most rows that a page may be asked for, and that a member can be set to give. A page may have fewer."""

VALUE_BYTES_MAX_DEFAULT = 1024 * 1024

TIME_MS_MAX = 2**63 - 1
"""The latest time, in milliseconds since the Unix epoch, that a message and a volume can hold."""
