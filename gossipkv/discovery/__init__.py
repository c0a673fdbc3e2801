"""How a member finds endpoints of others."""
