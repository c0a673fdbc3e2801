"""The work that no input asks for: expiry, collection of tombstones, and replicas that come and go."""
