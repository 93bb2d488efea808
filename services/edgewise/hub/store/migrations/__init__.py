"""How the tables came to be what they are, one step after another. Steps are added, never changed."""
