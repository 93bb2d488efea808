"""What the hub keeps: one database, SQLite by default and PostgreSQL by its URL, written by one process."""
