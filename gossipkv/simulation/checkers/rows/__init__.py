"""What replicas hold: every write or what replaced it, and in the end the same everywhere."""
