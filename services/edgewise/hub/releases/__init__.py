"""Makes releases of model versions: what is in them, cut into chunks, and where the bytes are kept."""
