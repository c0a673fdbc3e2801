"""`python -m gossipkv`."""

from gossipkv.cli import main

main()
