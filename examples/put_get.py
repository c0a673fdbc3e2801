"""Put a row, read it, delete it. Run `make dev`, then `python examples/put_get.py [URL ...]`."""

import sys

from gossipkv import Choice, SyncClient

SERVERS = sys.argv[1:] or ["http://127.0.0.1:7080"]

# All requests go to the same server while it answers, so this program reads what it has written.
with SyncClient(SERVERS, choice=Choice.IN_ORDER) as client:
    flags = client.table("flags")

    written = flags.put("dark-mode", b"on")
    print(f"written as version {written.etag}")

    row = flags.get("dark-mode")
    assert row is not None
    assert row.value == b"on"
    print(f"dark-mode is {row.value!r}, version {row.etag}")

    flags.delete("dark-mode")
    assert flags.get("dark-mode") is None
    print("dark-mode is gone")
