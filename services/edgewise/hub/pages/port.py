"""What the pages need of the hub that shows them."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import ParamSpec, Protocol, TypeVar

from starlette.requests import Request

from edgewise.hub.blobs.port import BlobStore
from edgewise.hub.control.actors import Role
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.samples.shown import Retention

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Hub(Protocol):
    """The hub."""

    @property
    def plane(self) -> ControlPlane:
        """Whose methods are called through `call`."""

    @property
    def clock(self) -> Callable[[], float]:
        """The wall clock, in seconds since the epoch."""

    @property
    def retention(self) -> Retention:
        """How long samples are kept."""

    @property
    def blobs(self) -> BlobStore:
        """Where pictures are."""

    async def in_files(
        self, function: Callable[_Arguments, _Answer], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Answer:
        """Have a thread do something with files."""

    def pieces(self, source: Iterator[bytes]) -> AsyncIterator[bytes]:
        """What an iterator over files gives."""

    async def call(
        self, function: Callable[_Arguments, _Answer], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Answer:
        """Have the control plane's thread call one of its methods."""

    def log_in(self, token: str, request: Request) -> tuple[str, Role]:
        """Whose token it is.

        Raises:
            UnauthenticatedError: nobody's; that is counted against the address.
            ResourceExhaustedError: too many from this address were wrong.
        """

    def address(self, request: Request) -> str:
        """Where a request came from, for the audit log."""

    async def changed(self, rollout: str, after: int, wait_s: float) -> None:
        """Wait until a rollout has a greater revision, so long at most."""
