"""What several suites stand on. Imported as `support.…`: `tests` is on pytest's path."""
