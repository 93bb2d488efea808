"""Which versions of a model are wanted, which states a version passes through, and who may be asked for.

    START ──▶ LOADING ──▶ AVAILABLE ──▶ UNLOADING ──▶ END ──▶ START (asked for again)
                 └───────────── error ──────────────▶ END

START: wanted, its load has not begun. LOADING: files are read, the graph is built, warmed and checked. AVAILABLE:
answers requests. UNLOADING: takes no new requests, finishes those it has. END: not in memory; with an error, it
could not be loaded. The names are those of TensorFlow Serving's `ModelVersionStatus.State`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from edgewise.core.errors import Code, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.requests import ModelSpec

MODEL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""What a model may be called; a leading dot is refused besides, since such directories are hidden."""

MAX_VERSION = 2**63 - 1

DEFAULT_LABEL = "default"
"""The label whose version answers requests that name neither version nor label; TensorFlow Serving has no such label.

Where it is there, nothing else ever answers them: a version that the label does not name may be loaded only to be tried out.
"""


@dataclass(frozen=True, slots=True)
class Latest:
    """Serve the `count` highest version numbers found (0 counts as 1, as in TensorFlow Serving)."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class All:
    """Serve every version found."""


@dataclass(frozen=True, slots=True)
class Specific:
    """Serve these versions, as far as they are found."""

    versions: tuple[int, ...]


VersionPolicy = Latest | All | Specific


@dataclass(frozen=True, slots=True)
class ServedModelConfig:
    """One model to serve.

    Attributes:
        base_path: the directory whose integer-named subdirectories are the versions.
        labels: version by label; see `DEFAULT_LABEL` for the one with a meaning of its own.
        platform: as in TensorFlow Serving's config ("tensorflow", ...); it cannot change while the model is served.
    """

    name: str
    base_path: str
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)
    platform: str = ""

    @property
    def default_version(self) -> int | None:
        """The version for requests that name none; None is the highest that answers."""
        return self.labels.get(DEFAULT_LABEL)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """All models to serve."""

    models: tuple[ServedModelConfig, ...] = ()


class VersionState(StrEnum):
    """Where a version is on its way."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


class VersionEvent(StrEnum):
    """What happens to a version."""

    WANTED = "wanted"
    LOAD_BEGAN = "load began"
    LOADED = "loaded"
    FAILED = "failed"
    UNLOAD_BEGAN = "unload began"
    UNLOADED = "unloaded"


TRANSITIONS: Mapping[tuple[VersionState, VersionEvent], VersionState] = {
    (VersionState.START, VersionEvent.LOAD_BEGAN): VersionState.LOADING,
    (VersionState.LOADING, VersionEvent.LOADED): VersionState.AVAILABLE,
    (VersionState.LOADING, VersionEvent.FAILED): VersionState.END,
    (VersionState.AVAILABLE, VersionEvent.UNLOAD_BEGAN): VersionState.UNLOADING,
    (VersionState.UNLOADING, VersionEvent.UNLOADED): VersionState.END,
    (VersionState.END, VersionEvent.WANTED): VersionState.START,
}


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """What is told of one version.

    Attributes:
        error_code: None when nothing went wrong (the protocols say "OK").
        error_message: why the version could not be loaded, fit for a client to read.
    """

    version: int
    state: VersionState
    error_code: Code | None = None
    error_message: str = ""


def aspired(available: Iterable[int], policy: VersionPolicy) -> set[int]:
    """The versions that the policy wants, out of those found."""
    found = set(available)
    match policy:
        case Latest(count):
            return set(sorted(found, reverse=True)[: max(count, 1)])
        case Specific(versions):
            return found.intersection(versions)
        case All():
            return found


def check_config(config: ServerConfig, previous: ServerConfig | None = None) -> None:
    """Refuse a config that cannot be served.

    Args:
        config: the config asked for.
        previous: the one that is served now, if any.

    Raises:
        InvalidArgumentError: a name is missing, unfit or listed twice, a base path is missing, or the platform of a
            served model changes.
    """
    platforms = {model.name: model.platform for model in previous.models} if previous else {}
    seen: set[str] = set()
    for model in config.models:
        if not is_model_name(model.name):
            raise InvalidArgumentError(
                f"Illegal model name {model.name!r}: it is made of up to 128 letters, digits, "
                "'_', '-' and '.', and does not begin with '.'"
            )
        if model.name in seen:
            raise InvalidArgumentError(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
        if not model.base_path:
            raise InvalidArgumentError(f"Expected model {model.name} to have a base_path; it has none")
        known = platforms.get(model.name, model.platform)
        if known and model.platform and known != model.platform:
            raise InvalidArgumentError(
                f"Illegal to change a model's platform. For model {model.name} platform was {known} "
                f"and new platform requested is {model.platform}."
            )


def is_model_name(name: str) -> bool:
    """Whether a model may be called so; hidden names and path parts are not names."""
    return not name.startswith(".") and MODEL_NAME.fullmatch(name) is not None


def check_labels(
    model: ServedModelConfig,
    *,
    available: Iterable[int],
    current: Mapping[str, int],
    allow_unavailable: bool = False,
) -> None:
    """Refuse labels that would point at a version that does not answer.

    Args:
        model: the config asked for.
        available: versions of the model that are AVAILABLE now.
        current: the labels in force.
        allow_unavailable: lets a *new* label point at a version that is not AVAILABLE yet; a label in force still
            moves to AVAILABLE versions only.

    Raises:
        FailedPreconditionError: a label may not be assigned.

    Source: TensorFlow Serving, `ServerCore::UpdateModelVersionLabelMap` and its flag
        `allow_version_labels_for_unavailable_models`.
    """
    serving = set(available)
    for label, version in model.labels.items():
        if version in serving or (allow_unavailable and current.get(label, version) == version):
            continue
        raise FailedPreconditionError(
            f"Request to assign label to version {version} of model {model.name}, "
            "which is not currently available for inference"
        )


def resolve_label(label: str, labels: Mapping[str, int] | None) -> int:
    """The version that a label points at.

    Raises:
        InvalidArgumentError: no such label (also when there is no such model, as in TensorFlow Serving).
    """
    version = labels.get(label) if labels else None
    if version is None:
        raise InvalidArgumentError(f"Unrecognized servable version label: {label}")
    return version


def not_servable(spec: ModelSpec, version: int | None = None) -> InvalidArgumentError | NotFoundError:
    """The error for a model or version that is not there to answer.

    Args:
        spec: what was asked for.
        version: the version that a label stood for.
    """
    if not spec.name:
        return InvalidArgumentError("ModelSpec has no name specified.")
    wanted = spec.version if version is None else version
    asked = f"Latest({spec.name})" if wanted is None else f"Specific({spec.name}, {wanted})"
    return NotFoundError(f"Servable not found for request: {asked}")
