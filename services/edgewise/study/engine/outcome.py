"""What the engine's process tells of a run beside its columns."""

from dataclasses import dataclass
from typing import Final

STOP: Final = "stop"
"""Said to the engine's process while it runs a job."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """See `Recording`, whose attributes have these names."""

    answers: list[bytes]
    sites: list[str]
    errors: dict[str, int]
    started_wall_s: float
    cpu_s: float
    waited_s: float
    stopped: bool
    opened: int
    resent: int
    scheduling: str = ""
    cpus: tuple[int, ...] = ()
