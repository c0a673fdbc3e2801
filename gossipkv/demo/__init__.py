"""Demonstrations with real processes: `gossipkv demo NAME`."""
