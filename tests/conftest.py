"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine makes any example slow: how long one takes says nothing about the code.
settings.register_profile("gossipkv", deadline=None)
settings.load_profile("gossipkv")
