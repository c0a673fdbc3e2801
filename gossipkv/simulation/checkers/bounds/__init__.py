"""What a member holds and asks for stays bounded."""
