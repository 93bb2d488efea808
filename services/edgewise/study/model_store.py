"""The models of a study: built once for all studies of this user, and copied, with a study's batching, for each site.

~/.cache/edgewise/models/pets-cloud/pets/1/...      built; XDG_CACHE_HOME is respected
DIR/world/sites/cloud/pets/1/...                    what a site serves: hard links, and a model.toml of its own

Hard links cost nothing; on another file system the files are copied.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import threading
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.study.parts import run_edgewise
from edgewise.study.scenario import ModelSpec, SiteSpec

MODEL_TOML: Final = "model.toml"
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class ModelStore:
    """Builds models and makes sites' repositories of them.

    Args:
        cache: for what was built.
        log: takes what builders print.
        stop: ends a build when set.
    """

    def __init__(self, cache: Path, log: Path, stop: threading.Event | None = None) -> None:
        self._cache = cache
        self._log = log
        self._stop = stop
        self._built: dict[str, Path] = {}

    def built(self, model: ModelSpec, site: SiteSpec) -> Path:
        """The model's newest version directory for a site; builds it where it is missing or was built by another version.

        Raises:
            NotFoundError: the repository that it names does not hold it.
            FailedPreconditionError: it could not be built; the message names the log.
            CancelledError: the study was stopped.
        """
        if model.kind == "repository":
            return newest_version(model)
        name, served, words = _recipe(model, site)
        if name not in self._built:
            root = self._cache / name
            with _locked(self._cache, name):
                self._build([*words[:3], str(root), *words[3:]])
            self._built[name] = root / served
        return newest_in(self._built[name])

    def copy(
        self, model: ModelSpec, site: SiteSpec, batching: Mapping[str, object], repository: Path
    ) -> Mapping[str, Any]:
        """Make a repository that holds this one model.

        Args:
            batching: of the scenario's settings; keys of `[batching]` that go before the model's and the site's.
            repository: replaced by the new one.
        Returns: its `[batching]`.
        Raises: as `built`; InvalidArgumentError: its model.toml is none.
        """
        source = self.built(model, site)
        shutil.rmtree(repository, ignore_errors=True)
        target = repository / model.served_as / source.name
        target.parent.mkdir(parents=True)
        _link_tree(source, target)
        for beside in source.parent.iterdir():
            # Labels and golden inputs may lie beside the versions.
            if beside.is_file() and beside.name != MODEL_TOML:
                _link_file(beside, target.parent / beside.name)
        told = _read_toml(source / MODEL_TOML, source.parent / MODEL_TOML)
        told = _merged(told, _parsed(model.config, f"the config of the model {model.name!r}"))
        settings = served_settings(told, {"instances": site.instances, **model.batching, **batching})
        place = target / MODEL_TOML
        place.unlink(missing_ok=True)
        place.write_text(toml_text(settings), encoding="utf-8")
        served: Mapping[str, Any] = settings["batching"]
        return served

    def _build(self, words: list[str]) -> None:
        if run_edgewise(words, self._log, self._stop) == 0:
            return
        # The cache is ours: a model that another version of Edgewise wrote there gives way.
        code = run_edgewise([*words, "--force"], self._log, self._stop)
        if code:
            raise FailedPreconditionError(f"`edgewise {' '.join(words)}` failed with exit code {code}; see {self._log}")


def cache_directory() -> Path:
    """Where models are built, for this user."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named else Path.home() / ".cache") / "edgewise" / "models"


def newest_version(model: ModelSpec) -> Path:
    """The newest version directory in the repository that a model names.

    Raises: NotFoundError: there is none.
    """
    directory = model.directory
    if directory is None:
        raise InvalidArgumentError(
            f"the model {model.name!r} names no directory; give one that holds {model.served_as}/1"
        )
    return newest_in(directory / model.served_as)


def newest_in(base: Path) -> Path:
    """The version directory with the greatest number in a model's directory.

    Raises: NotFoundError: there is none.
    """
    with contextlib.suppress(OSError):
        versions = [path for path in base.iterdir() if path.name.isdecimal() and path.is_dir()]
        if versions:
            return max(versions, key=lambda path: int(path.name))
    raise NotFoundError(f"there is no model version in {base}; expected such as {base / '1'}")


def served_settings(told: Mapping[str, Any], batching: Mapping[str, object]) -> dict[str, Any]:
    """The tables of model.toml, with other keys in `[batching]`.

    What no longer fits a smaller `max_batch_size` and was not said along with it gives way.
    """
    merged = {**told.get("batching", {}), **batching}
    most = merged.get("max_batch_size")
    if "max_batch_size" in batching and "allowed_batch_sizes" not in batching:
        merged.pop("allowed_batch_sizes", None)
    settings = {**told, "batching": merged}
    warmup = dict(told.get("warmup", {}))
    if isinstance(most, int) and "batch_sizes" in warmup:
        warmup["batch_sizes"] = [size for size in warmup["batch_sizes"] if size <= most] or [most]
        settings["warmup"] = warmup
    return settings


def toml_text(tables: Mapping[str, Any]) -> str:
    """Tables as TOML, one key of the top a line."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in tables.items())


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "{" + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case str():
            # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return repr(value)


def _recipe(model: ModelSpec, site: SiteSpec) -> tuple[str, str, list[str]]:
    """Name in the cache, directory of the model there, and the command but for the place."""
    match model.kind:
        case "pets":
            variant = model.variants.get(site.name, site.tier)
            return f"pets-{variant}", "pets", ["models", "build", "pets", "--variant", variant]
        case "zoo":
            return f"zoo-{model.network}", model.network, ["models", "build", "zoo", "--only", model.network]
        case _:
            return "tiny", "tiny", ["models", "build", "tiny"]


def _read_toml(*places: Path) -> dict[str, Any]:
    for place in places:
        try:
            text = place.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"{place} cannot be read: {error}") from None
        return _parsed(text, str(place))
    return {}


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgumentError(f"{where} is not TOML: {error}") from None


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Tables joined key by key; what `more` says of the same key goes before."""
    found = dict(base)
    for key, value in more.items():
        before = found.get(key)
        found[key] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return found


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_link_file)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        # Another file system, or one without links.
        shutil.copy2(source, target)


@contextlib.contextmanager
def _locked(directory: Path, name: str) -> Iterator[None]:
    """Two studies do not build the same model at the same time."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / f".{name}.lock").open("wb")
    except OSError as error:
        raise FailedPreconditionError(
            f"{directory} cannot hold models: {error.strerror}; set XDG_CACHE_HOME to a directory that can be written"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
