"""Watches: what the watchers of rows are sent, and the position from which they resume."""
