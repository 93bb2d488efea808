"""The models that are to be served, and what lies on disk of each."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.core.version_plan import ModelVersions
from edgewise.core.versions import ServedModelConfig, ServerConfig, VersionStatus, check_config, check_labels
from edgewise.model_server.versions.model_files import Found, VersionFiles, settle
from edgewise.model_server.versions.routes import Slot

_log = logging.getLogger(__name__)

# A model directory that is exchanged by two renames is missing for a moment; so long it is not believed to be gone.
ABSENT_LOOKS = 2

# Of so many models that are no longer served it is still told what became of their versions.
MAX_REMEMBERED = 64


@dataclass(eq=False, slots=True)
class ServedModel:
    """One model.

    Attributes:
        seen: what the last look at its files found; None lets the next look be trusted as it is.
        routed: what was last put into the routes.
        answered: whether it has answered since it is served.
        unsettled: whether someone is writing its files.
        problem: why its directory could not be read.
        absent_looks: how often in a row its directory was missing.
    """

    config: ServedModelConfig
    base: Path
    versions: ModelVersions
    seen: dict[int, VersionFiles] | None
    served: bool = True
    slots: dict[int, Slot] = field(default_factory=dict)
    routed: tuple[dict[int, Slot] | None, Mapping[str, int]] = (None, {})
    told: dict[int, VersionStatus] = field(default_factory=dict)
    answered: bool = False
    unsettled: bool = False
    problem: str = ""
    absent_looks: int = 0

    @property
    def answers(self) -> bool:
        """Whether a request that names no version is answered."""
        default = self.config.default_version
        return bool(self.slots) if default is None else default in self.slots

    def remove(self) -> None:
        """Serve the model no more."""
        self.served = self.answered = self.unsettled = False
        self.versions.configure(None)

    def note(self, found: dict[int, VersionFiles] | str) -> None:
        """Note the versions found in the model's directory, or why it could not be read."""
        if isinstance(found, str):
            # A directory that is away for a while takes no version with it.
            if found != self.problem:
                _log.warning("%s", found)
            self.problem = found
            self.seen = self.seen or {}
            return
        self.problem = ""
        settled, self.unsettled = settle(self.seen, found, self.versions.files)
        self.seen = found
        self.versions.observe(settled)

    def failure(self) -> str:
        """Why the model does not serve all it should, in TensorFlow Serving's words; "" when it does."""
        wanted = self.versions.aspired()
        name = self.config.name
        if not wanted:
            missing = self.problem or f"No versions of servable {name} found under base path {self.config.base_path}"
            return f"{{name: {name}}} due to error: {missing}"
        return ", ".join(
            f"{{name: {name} version: {status.version}}} due to error: {status.error_message}"
            for status in self.versions.failures()
            if status.version in wanted
        )


class ServedModels:
    """All models, those that are on their way out included, in the order of the config.

    Attributes:
        directory: where models are looked for; None when the config names them.
        problem: why that directory could not be read.
        config: the config in force.
        epoch: differs when what a look at the files has found does not belong to the config any more.
    """

    def __init__(self, root: Path) -> None:
        self.directory: Path | None = None
        self.problem = ""
        self.config = ServerConfig()
        self.epoch = 0
        self._root = root
        self._unfit: tuple[str, ...] = ()
        self._models: dict[str, ServedModel] = {}

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def get(self, name: str) -> ServedModel | None:
        """The model of that name, served or remembered."""
        return self._models.get(name)

    def check(self, config: ServerConfig, *, allow_unavailable_labels: bool) -> None:
        """Refuse a config that cannot take the place of the one in force.

        Args:
            allow_unavailable_labels: see `check_labels`.

        Raises:
            InvalidArgumentError: it cannot be served.
            FailedPreconditionError: a label points at a version that is not AVAILABLE.
        """
        check_config(config, self.config)
        for wanted in config.models:
            model = self._models.get(wanted.name)
            check_labels(
                wanted,
                available=model.slots if model is not None else (),
                current=model.config.labels if model is not None and model.served else {},
                allow_unavailable=allow_unavailable_labels,
            )

    def adopt(self, config: ServerConfig, *, trusted: bool, again: bool = False) -> None:
        """Serve what `config` says.

        Args:
            config: a config that has been checked.
            trusted: nobody is writing the files of new models.
            again: what has failed is tried again.
        """
        models: dict[str, ServedModel] = {}
        for wanted in config.models:
            base = self._root / wanted.base_path
            model = self._models.pop(wanted.name, None)
            if model is None:
                model = ServedModel(wanted, base, ModelVersions(wanted.policy), None if trusted else {})
            else:
                if again or not model.served or wanted.policy != model.config.policy:
                    model.versions.configure(wanted.policy)
                if base != model.base or not model.served:
                    model.seen = None if trusted else {}
                model.config, model.base, model.served = wanted, base, True
            model.versions.default = wanted.default_version
            models[wanted.name] = model
        for name, model in self._models.items():
            model.remove()
            models[name] = model
        self._models = models
        self.config = config
        self.epoch += 1

    def remove_all(self) -> None:
        """Serve nothing any more."""
        for model in self:
            model.remove()

    def forget_old(self) -> None:
        """Forget the models that have been gone for longest."""
        gone = [name for name, model in self._models.items() if not model.served and model.versions.gone()]
        for name in gone[:-MAX_REMEMBERED]:
            del self._models[name]

    def ask(self) -> tuple[Path | None, dict[str, tuple[Path, set[int]]]]:
        """What `model_files.look` is to look at."""
        models = {
            name: (model.base, model.versions.read_already()) for name, model in self._models.items() if model.served
        }
        return self.directory, models

    def note(self, found: Found, *, trusted: bool) -> None:
        """Note what a look at the files has found.

        Args:
            found: the answer to `ask`, of the same epoch.
            trusted: nobody is writing the files of models that are new in the directory.
        """
        if found.problem != self.problem:
            self.problem = found.problem
            if found.problem:
                _log.warning("%s", found.problem)
        if found.problem:
            return
        for name in found.unfit:
            if name not in self._unfit:
                _log.warning(
                    "the directory %r is not served: a model's name is made of up to 128 letters, digits, '_', '-' and '.'",
                    name,
                )
        self._unfit = found.unfit
        if found.models is not None:
            self._follow_directory(found.models, trusted=trusted)
        for name, versions in found.versions.items():
            self._models[name].note(versions)

    def _follow_directory(self, found: Mapping[str, Path], *, trusted: bool) -> None:
        for name, model in self._models.items():
            model.absent_looks = model.absent_looks + 1 if model.served and name not in found else 0
            model.unsettled = 0 < model.absent_looks < ABSENT_LOOKS
        kept = {name: model.base for name, model in self._models.items() if model.unsettled}
        bases = {**found, **kept}
        config = ServerConfig(tuple(ServedModelConfig(name, str(bases[name])) for name in sorted(bases)))
        if config != self.config:
            self.adopt(config, trusted=trusted)
