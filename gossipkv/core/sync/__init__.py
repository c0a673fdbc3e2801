"""Anti-entropy: what to say to each peer, and what to make of what peers say."""
