"""The waits of clients: for copies of a write, and for answers of several members."""
