"""A local cluster of real processes, for development."""
