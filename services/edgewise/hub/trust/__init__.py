"""What the hub says in TUF's terms, and signs with its online key: the repository that sites refresh from."""
