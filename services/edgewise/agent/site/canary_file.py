"""The file that the gateway follows: how the requests of each model are divided at this site."""

import logging
from collections.abc import Mapping
from typing import Final

from edgewise.agent.site.port import Division
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.canaries import (
    MAX_CANARIES_BYTES,
    CanarySetting,
    CanarySettings,
    decode_canaries,
    encode_canaries,
)

_log: Final = logging.getLogger(__name__)


class CanaryFile:
    """The file, and what it says.

    Args:
        site: as the gateway's config calls this site.

    Attributes:
        generation: greater with every change.

    Raises: EdgewiseError: it cannot be read or written.
    """

    def __init__(self, state: StateDirectory, site: str) -> None:
        self._state = state
        self._site = site
        self.generation = 0
        self._divisions: dict[str, Division] = {}
        content = state.read(state.canaries, MAX_CANARIES_BYTES)
        try:
            settings = CanarySettings() if content is None else decode_canaries(content)
        except InvalidArgumentError as error:
            # Without a division the old version answers, which is always safe.
            _log.error("%s; the file is set aside, and requests are not divided", error.message)
            state.set_aside(state.canaries)
            content, settings = None, CanarySettings()
        self.generation = settings.generation
        self._divisions = {one.model: _division(one) for one in settings.canaries if one.site == site}
        if content is None or len(self._divisions) < len(settings.canaries):
            self._write(self._divisions)

    def get(self, model: str) -> Division | None:
        """What it says of a model; None when its requests are not divided."""
        return self._divisions.get(model)

    def set(self, model: str, division: Division | None) -> bool:
        """Have it say something else, whole and lasting, before this returns.

        Returns: whether it said something else before.
        Raises: EdgewiseError: the disk refuses; it says what it said.
        """
        if self._divisions.get(model) == division:
            return False
        changed = {name: one for name, one in self._divisions.items() if name != model}
        if division is not None:
            changed[model] = division
        self._write(changed)
        return True

    def _write(self, divisions: Mapping[str, Division]) -> None:
        settings = CanarySettings(
            self.generation + 1,
            tuple(
                CanarySetting(
                    self._site, model, one.old, one.new, one.share, one.shadow, slow_ms=one.slow_ms, key=one.key
                )
                for model, one in sorted(divisions.items())
            ),
        )
        self._state.write(self._state.canaries, encode_canaries(settings))
        self.generation, self._divisions = settings.generation, dict(divisions)


def _division(setting: CanarySetting) -> Division:
    return Division(setting.old, setting.new, setting.share, setting.shadow, setting.key, setting.slow_ms)
