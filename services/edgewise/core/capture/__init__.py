"""What is captured of the requests that pass, and what of it is kept when room is short."""
