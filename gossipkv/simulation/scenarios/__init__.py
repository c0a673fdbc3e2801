"""The shapes of runs: those drawn from a seed, and those that meet one situation again and again."""
