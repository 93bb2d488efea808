"""The last desired state that was accepted: on the disk before it is followed, so that it is followed without a hub too."""

import logging
from typing import Final

from edgewise.agent.site.port import Trust
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import EdgewiseError, PermissionDeniedError
from edgewise.core.rollout.orders import DesiredState
from edgewise.protocols.desired_state import MAX_DESIRED_BYTES

_MAX_BYTES: Final = 2 * MAX_DESIRED_BYTES + 65536
_log = logging.getLogger(__name__)


class DesiredStore:
    """The file, and what it says.

    Attributes:
        desired: None before there was one.

    Raises: EdgewiseError: the disk refuses.
    """

    def __init__(self, state: StateDirectory, trust: Trust) -> None:
        self._state = state
        self._trust = trust
        self._envelope = b""
        self.desired: DesiredState | None = None
        self.read()

    @property
    def generation(self) -> int:
        """Of what is followed; 0 before there was anything."""
        return self.desired.generation if self.desired is not None else 0

    def read(self) -> None:
        """Believe what is on the disk, if it is to be believed. What cannot be is left where it is: once more is known, it may be."""
        content = self._state.read(self._state.desired, _MAX_BYTES)
        if content is None:
            return
        try:
            self.desired, self._envelope = self._trust.open_desired(content), content
        except EdgewiseError as error:
            _log.error("%s is not followed: %s", self._state.desired, error.message)

    def accept(self, envelope: bytes) -> bool:
        """Follow what came, if it is to be followed.

        Returns: whether it says something else.
        Raises:
            PermissionDeniedError: nobody signed it who may, it is another site's, or older than what is followed.
            EdgewiseError: it is no desired state, or the disk refuses.
        """
        if envelope == self._envelope:
            return False
        seen = self.generation
        desired = self._trust.open_desired(envelope, seen_generation=seen)
        if desired.carried:
            raise PermissionDeniedError(
                f"the hub sent the desired state {desired.generation} as it was signed for a bundle, which is carried: refused over the "
                "network (an old state that is held on to)"
            )
        if desired.generation < seen:
            raise PermissionDeniedError(
                f"the hub sent the desired state {desired.generation}, and {seen} was followed already (rollback)"
            )
        self._state.write(self._state.desired, envelope)
        self.desired, self._envelope = desired, envelope
        return True
