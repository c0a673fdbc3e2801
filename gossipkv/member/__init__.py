"""A running member: what drives the core, from the inbox to the storage thread, and what its clients wait for."""
