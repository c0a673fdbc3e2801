"""What a request asks for: its target, its conditions and its body."""
