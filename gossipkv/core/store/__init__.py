"""One member's copy of the data: its shards, its rows, and what storage must offer."""
