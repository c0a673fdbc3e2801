"""The commands that run a whole cluster on this machine."""
