"""A member put together from settings, and a member inside another program."""
