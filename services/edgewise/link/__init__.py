"""The link emulator: a TCP relay with the delay, jitter, loss, bandwidth and faults of a real link."""
