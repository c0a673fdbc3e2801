"""How frames travel between members."""
