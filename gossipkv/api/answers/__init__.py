"""The forms of answers about rows."""
