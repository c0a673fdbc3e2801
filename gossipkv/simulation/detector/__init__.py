"""The failure detector alone, and the tables that show how it does."""
