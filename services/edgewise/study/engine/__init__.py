"""The open-loop engine: a process of its own that sends on schedule, whatever becomes of the requests before."""
