"""Clients that write, read, wait and watch."""
