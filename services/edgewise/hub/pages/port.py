"""What the pages need of the hub that shows them."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from starlette.requests import Request

from edgewise.hub.control.actors import Role
from edgewise.hub.control.plane import ControlPlane

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
