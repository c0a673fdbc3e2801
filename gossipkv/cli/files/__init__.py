"""The commands that write rows to a file, and put rows from a file."""
