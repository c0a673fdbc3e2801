"""The work that nobody asks for: expiry, collection of tombstones, and replicas that come and go."""
