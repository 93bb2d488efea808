"""How requests are divided at an edge node: by its gateway, or, where apps ask the model server directly, not at all."""

import time
from collections.abc import Callable
from typing import Final, Protocol

from edgewise.agent.site.canary_file import CanaryFile
from edgewise.agent.site.edge_servers import Gateway, GatewayCanaries, ModelServer
from edgewise.agent.site.models_config import ModelsConfig, Wanted
from edgewise.agent.site.port import Division, Reading
from edgewise.agent.site.server_counts import ServerCounts
from edgewise.core.errors import EdgewiseError, UnavailableError

UNCONFIRMED_S: Final = 2.0
"""A gateway that says nothing for so long is taken to follow a file that divides nothing: as soon as it is there, it does."""


class Divider(Protocol):
    """Divides, and says what came of it."""

    divides: bool
    """Whether a share other than none and all can be had."""

    def look(self) -> None:
        """Ask whoever divides what is in force, for the questions below."""
        ...

    def division(self, model: str) -> Division | None:
        """What was asked for last."""
        ...

    def is_settled(self, model: str) -> bool:
        """Whether that is in force."""
        ...

    def divide(self, model: str, division: Division | None) -> None:
        """Ask for it."""
        ...

    def reading(self, model: str) -> Reading | None:
        """What was counted; None when that is not known at the moment."""
        ...


class ByGateway:
    """See `Divider`.

    Args:
        now_s: a monotonic clock.
    """

    divides = True

    def __init__(self, canaries: CanaryFile, gateway: Gateway, now_s: Callable[[], float] = time.monotonic) -> None:
        self._canaries = canaries
        self._gateway = gateway
        self._now_s = now_s
        self._changed_s = float("-inf")
        self._said: GatewayCanaries | None = None

    def look(self) -> None:
        """See `Divider`."""
        try:
            self._said = self._gateway.canaries()
        except UnavailableError:
            self._said = None

    def division(self, model: str) -> Division | None:
        """See `Divider`."""
        return self._canaries.get(model)

    def is_settled(self, model: str) -> bool:
        """See `Divider`."""
        if self._said is not None and self._said.generation == self._canaries.generation:
            return True
        return self._canaries.get(model) is None and self._now_s() - self._changed_s > UNCONFIRMED_S

    def divide(self, model: str, division: Division | None) -> None:
        """See `Divider`."""
        if self._canaries.set(model, division):
            self._changed_s = self._now_s()

    def reading(self, model: str) -> Reading | None:
        """See `Divider`."""
        division = self._canaries.get(model)
        return None if self._said is None or division is None else self._said.readings.get(division.key)


class Undivided:
    """See `Divider`: none, or all. What the model server counts is told as the old version's before it, and the new version's after."""

    divides = False

    def __init__(self, config: ModelsConfig, server: ModelServer) -> None:
        self._config = config
        self._server = server
        self._divisions: dict[str, Division] = {}
        self._counts: dict[str, ServerCounts] = {}
        self._text: str | None = None

    def look(self) -> None:
        """See `Divider`."""
        try:
            self._text = self._server.metrics()
        except EdgewiseError:
            self._text = None
            return
        for model in self._config.models():
            self._counts.setdefault(model, ServerCounts(model)).read(self._text)

    def division(self, model: str) -> Division | None:
        """See `Divider`."""
        return self._divisions.get(model)

    def is_settled(self, model: str) -> bool:  # noqa: ARG002  (the label tells)
        """See `Divider`."""
        return True

    def divide(self, model: str, division: Division | None) -> None:
        """See `Divider`."""
        if division is None or division.share != 1.0:
            self._divisions.pop(model, None)
            return
        before = self._divisions.get(model)
        if before is None or before.key != division.key:
            self._counts.setdefault(model, ServerCounts(model)).turn(division.key)
        self._divisions[model] = division
        wanted = self._config.get(model)
        versions = wanted.versions if wanted is not None else frozenset()
        self._config.set(model, Wanted(versions | {division.new}, division.new))

    def reading(self, model: str) -> Reading | None:
        """See `Divider`."""
        division = self._divisions.get(model)
        counts = self._counts.get(model)
        if division is None or counts is None or self._text is None:
            return None
        return counts.reading(division.slow_ms)
