"""The content of releases: files by their SHA-256, in a directory or in an object store."""
