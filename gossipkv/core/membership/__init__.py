"""The other members: how they are found, which are alive (SWIM), and which one to gossip with."""
