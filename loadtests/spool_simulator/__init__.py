"""A spool on a disk that is not there, on virtual time."""
