"""The steps, named by their numbers."""
