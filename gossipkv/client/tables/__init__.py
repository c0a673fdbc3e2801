"""A table as an object: reads, writes, batches, listings and watches of its rows."""
