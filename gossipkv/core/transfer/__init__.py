"""The transfers from one peer: pulls, walks, fetches of large rows, and the conversation that they belong to."""
