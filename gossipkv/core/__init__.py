"""The pure core: what a replica decides. No I/O, no clock, no randomness of its own."""
