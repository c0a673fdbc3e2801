"""The commands for the rows of a table, and for the tables."""
