"""Anti-entropy: what to send to each peer, and what to conclude from what peers send."""
