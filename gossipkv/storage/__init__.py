"""Where a replica keeps its rows: on a volume with LMDB, or in memory with the semantics of a crash."""
