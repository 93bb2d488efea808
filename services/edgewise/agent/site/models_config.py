"""The file that the model server follows: which versions are loaded, and which one answers who asks for none."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import EdgewiseError
from edgewise.core.versions import DEFAULT_LABEL, ServedModelConfig, ServerConfig, Specific, check_config
from edgewise.protocols.server_config import parse_model_server_config
from edgewise.protocols.server_config_text import model_server_config_text

_MAX_BYTES: Final = 16 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the model server is to do with a model.

    Attributes:
        versions: to be loaded; at least one.
        default: answers requests that name neither version nor label; 0 is the highest that is loaded.
    """

    versions: frozenset[int]
    default: int = 0


class ModelsConfig:
    """The file, and what it says.

    Args:
        recovered: what it should say if there is none that can be read.
    Raises: EdgewiseError: it cannot be read or written.
    """

    def __init__(self, state: StateDirectory, recovered: Mapping[str, Wanted]) -> None:
        self._state = state
        self._models: dict[str, Wanted] = {}
        found = read_models(state)
        if found is None:
            if state.models_config.exists():
                _log.error("%s is damaged; it is set aside and made anew from what is known", state.models_config)
                state.set_aside(state.models_config)
            self._write(dict(recovered))
        else:
            self._models = found

    def get(self, model: str) -> Wanted | None:
        """What it says of a model; None when it does not name it."""
        return self._models.get(model)

    def models(self) -> Iterable[str]:
        """Those that it names."""
        return tuple(self._models)

    def set(self, model: str, wanted: Wanted | None) -> bool:
        """Have it say something else, whole and lasting, before this returns.

        Returns: whether it said something else before.
        Raises: EdgewiseError: the disk refuses; it says what it said.
        """
        if self._models.get(model) == wanted:
            return False
        changed = {name: one for name, one in self._models.items() if name != model}
        if wanted is not None:
            changed[model] = wanted
        self._write(changed)
        return True

    def _write(self, models: dict[str, Wanted]) -> None:
        config = ServerConfig(
            tuple(
                ServedModelConfig(
                    name=name,
                    base_path=str(self._base(name)),
                    policy=Specific(tuple(sorted(wanted.versions))),
                    labels={DEFAULT_LABEL: wanted.default} if wanted.default else {},
                )
                for name, wanted in sorted(models.items())
            )
        )
        self._state.write(self._state.models_config, model_server_config_text(config).encode())
        self._models = models

    def _base(self, model: str) -> Path:
        return self._state.models / model


def read_models(state: StateDirectory) -> dict[str, Wanted] | None:
    """What the file says, by model; None when it is not there, or says what no agent has written.

    Raises: EdgewiseError: it cannot be read.
    """
    content = state.read(state.models_config, _MAX_BYTES)
    # An empty file would be a config without models.
    if content is None or not content.strip():
        return None
    try:
        config = parse_model_server_config(content.decode(), state.models_config.name)
        check_config(config)
    except (EdgewiseError, UnicodeDecodeError):
        return None
    found = {}
    for model in config.models:
        if not isinstance(model.policy, Specific):
            return None
        found[model.name] = Wanted(frozenset(model.policy.versions), model.labels.get(DEFAULT_LABEL, 0))
    return found
