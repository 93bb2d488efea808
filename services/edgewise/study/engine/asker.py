"""What the run wants of a transport, and what the transport wants of the run."""

from typing import Protocol

from edgewise.study.engine.ledger import Ledger


class Asker(Protocol):
    """Sends requests over one transport."""

    @property
    def opened(self) -> int:
        """Connections made."""

    @property
    def resent(self) -> int:
        """Requests sent again, since a connection was closed before it had taken them."""

    async def start(self, connections: int) -> None:
        """Open so many connections, as far as that works within a moment."""

    def begin(self, row: int) -> bool:
        """Send a request. Returns: False when all connections are busy; then it is not taken."""

    def wanted(self) -> None:
        """A request was put in line."""

    def give_up(self, row: int) -> None:
        """Nobody waits for the answer any more; nothing is told."""

    def tend(self, now_ns: int) -> None:
        """Do what is due from time to time, at that time of `monotonic_ns`."""

    async def close(self) -> None:
        """Drop everything."""


class Line(Protocol):
    """The requests that are due and wait for a connection, oldest first; and the book that all are in."""

    ledger: Ledger

    def take(self) -> int:
        """The request that has waited longest; -1 for none."""

    def put_back(self, row: int) -> None:
        """At the head of the line again."""

    def waiting(self) -> int:
        """How many wait, at most."""

    def fault(self, error: BaseException) -> None:
        """The engine itself has failed: the run is over."""

    def answered(self) -> None:
        """Something ended: a good moment to see whether the next request is due."""
