"""What measuring needs of the world and of the engine; tests put others in their place."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edgewise.study.engine.job import Job, Recording

OnProgress = Callable[[int, int, int], None]
"""Told how many requests were due so far, have ended, have failed."""


class Measured(Protocol):
    """What is asked: `world.World`, or what stands in for it."""

    @property
    def serving(self) -> tuple[str, str]:
        """Names of the model and the batching that are served."""
        ...

    def prepare(self, model: str) -> None:
        """Build what is needed of a model."""
        ...

    def serve(self, model: str, batching: str = "") -> None:
        """Serve this model with these batching settings."""
        ...

    def set_profile(self, profile: str) -> None:
        """Change the network."""
        ...

    def tell_links(self, said: Mapping[str, Any]) -> None:
        """Post to the links' control API."""
        ...

    def fresh_gateway(self, *, always: bool = False) -> bool:
        """Have a gateway that knows the present network only."""
        ...

    def address(self, target: str, transport: str) -> tuple[str, int]:
        """Where a target is asked."""
        ...

    def describe(self, target: str) -> bytes:
        """The model's metadata, as the server tells it."""
        ...

    def batches(self, target: str) -> tuple[int, int]:
        """How many batches a target runs at once, and how large they are at most."""
        ...

    def check_reachable(self, target: str, transport: str) -> None:
        """See whether somebody listens."""
        ...

    def check(self) -> None:
        """See whether every part still runs."""
        ...

    def settle(self) -> bool:
        """Wait until nothing is in flight."""
        ...


class Asks(Protocol):
    """The engine, or what stands in for it."""

    def run(
        self,
        job: Job,
        on_progress: OnProgress | None = None,
        stop: threading.Event | None = None,
        on_start: Callable[[float], None] | None = None,
    ) -> Recording:
        """Run one job to its end, or until `stop` is set; `on_start` is told when it began, by the monotonic clock."""
        ...
