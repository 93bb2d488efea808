"""What became of the samples that were offered."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class SpoolCounters:
    """Samples, and the bytes of those that are there.

    Attributes:
        offered: to the writer.
        accepted: safe on the disk; those that were dropped later are among them.
        dropped: by reason and priority: "refused" would have been dropped at once, "disk-full", "disk-error" and "too-large" could
            not be written, "bound" and "expired" had been accepted.
        bytes_on_disk: of the directory, as far as the writer knows.
    """

    offered: int = 0
    accepted: int = 0
    dropped: Counter[tuple[str, int]] = field(default_factory=Counter)
    bytes_on_disk: int = 0
