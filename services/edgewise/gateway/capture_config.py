"""`[capture]` of gateway.toml: what is kept of the requests that pass, for whom and for how long. Without the table: nothing.

[capture]
directory = "capture"          # of the spool; relative to this file
models = ["pets"]              # of no other is anything kept
sampled = 0.01

[capture.pets]                 # begins with what [capture] says
low_confidence = 0.6
pictures = false
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from edgewise.core.capture.limits import Limit
from edgewise.core.capture.rules import RULES, CaptureRules
from edgewise.gateway.toml_tables import Table, boolean, label, number, text, whole

_MIB: Final = 1 << 20
EVERY_MODEL: Final = "all"
_MOST_A_SECOND: Final = 10_000.0
_MOST_AN_HOUR: Final = 36_000_000.0


@dataclass(frozen=True, slots=True)
class ModelCapture:
    """What is kept of one model's requests.

    Attributes:
        pictures: what apps sent is kept; otherwise only what was answered.
        answers: what sites answered is kept; the confidence always is.
        max_sample_bytes: a longer request is not kept at all.
        rules: which answers are.
    """

    pictures: bool = True
    answers: bool = True
    max_sample_bytes: int = 4 * _MIB
    rules: CaptureRules = field(default_factory=CaptureRules)


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    """What is kept, and where.

    Attributes:
        directory: of the spool.
        site: what samples say of where they were captured; "" leaves it to the agent that sends them.
        max_bytes: of all files in the directory.
        retention_days: what was not sent by then is deleted.
        others: for models that are not named in `models`; None keeps nothing of them.
        models: by name; None keeps nothing of it.
    """

    directory: Path
    site: str
    max_bytes: int = 1024 * _MIB
    retention_days: float = 30.0
    others: ModelCapture | None = None
    models: Mapping[str, ModelCapture | None] = field(default_factory=lambda: MappingProxyType({}))

    def of_model(self, model: str) -> ModelCapture | None:
        """What is kept of a model's requests; None for nothing."""
        return self.models.get(model, self.others)

    def share_of(self, workers: int) -> "CaptureConfig":
        """What each of several processes takes of it: the rules' limits are for all of them together."""

        def share(found: ModelCapture | None) -> ModelCapture | None:
            return found and replace(found, rules=found.rules.share_of(workers))

        models = {model: share(found) for model, found in self.models.items()}
        return replace(self, others=share(self.others), models=MappingProxyType(models))


def read_capture(values: Mapping[str, Any], file: Path, tiers: frozenset[str]) -> CaptureConfig | None:
    """Read the table.

    Args:
        values: as TOML has it; tables in it are those of models.
        file: gateway.toml, for messages; names of directories are relative to its own.
        tiers: of the sites that there are.
    Returns: None where it says `enabled = false`.
    Raises: InvalidArgumentError: something cannot be used; the message says what would be right.
    """
    found = Table({key: value for key, value in values.items() if not isinstance(value, dict)}, f"{file}: [capture]")
    enabled = found.take("enabled", boolean, True)
    directory = found.take("directory", _directory_in(file.parent))
    site = found.take("site", label, "")
    max_bytes = found.take("max_bytes", whole(_MIB, 1 << 50), 1024 * _MIB)
    retention_days = found.take("retention_days", number(0.01, 3650), 30.0)
    named = found.take("models", _models, ())
    base = _model(found, ModelCapture(), tiers)
    models: dict[str, ModelCapture | None] = {} if named == EVERY_MODEL else dict.fromkeys(named, base)
    for model, own in values.items():
        if isinstance(own, dict):
            of_model = Table(own, f"{file}: [capture.{model}]")
            kept = of_model.take("enabled", boolean, True)
            read = _model(of_model, base, tiers)
            models[model] = read if kept else None
    if not models and named != EVERY_MODEL:
        raise found.error('models is missing; name those of which samples may be kept: models = ["pets"], or "all"')
    if not enabled:
        return None
    others = base if named == EVERY_MODEL else None
    return CaptureConfig(directory, site, max_bytes, retention_days, others, MappingProxyType(models))


def _model(found: Table, base: ModelCapture, tiers: frozenset[str]) -> ModelCapture:
    """What a table says of a model's requests; what it does not say is as in `base`."""
    rules = base.rules
    read = ModelCapture(
        pictures=found.take("pictures", boolean, base.pictures),
        answers=found.take("answers", boolean, base.answers),
        max_sample_bytes=found.take("max_sample_bytes", whole(1024, 16 * _MIB), base.max_sample_bytes),
        rules=CaptureRules(
            all=found.take("all", boolean, rules.all),
            sampled=found.take("sampled", number(0, 1), rules.sampled),
            low_confidence=found.take("low_confidence", _off_or(number(0, 1)), rules.low_confidence) or 0.0,
            disagreement=found.take("disagreement", _off_or(number(0, 1)), rules.disagreement),
            drift=found.take("drift", _off_or(number(0.01, 10)), rules.drift),
            limits=_limits(found, rules.limits),
        ),
    )
    found.finish()
    _check(found, read.rules, tiers)
    return read


def _limits(found: Table, base: Mapping[str, Limit]) -> Mapping[str, Limit]:
    limits = {}
    for rule in RULES:
        key = rule.replace("-", "_")
        limits[rule] = Limit(
            found.take(f"{key}_per_second", number(0.001, _MOST_A_SECOND), base[rule].per_second),
            found.take(f"{key}_per_hour", number(0.1, _MOST_AN_HOUR), base[rule].per_hour),
        )
    return MappingProxyType(limits)


def _check(found: Table, rules: CaptureRules, tiers: frozenset[str]) -> None:
    chooses = rules.all or rules.sampled or rules.low_confidence or rules.drift is not None
    if not chooses and rules.disagreement is None:
        raise found.error("no rule is left that would choose anything; to keep nothing say enabled = false")
    if rules.disagreement and len(tiers) < 2:
        raise found.error(
            f"disagreement = {rules.disagreement:g} asks a site of the other tier as well, and all sites are of the tier "
            f"{next(iter(tiers), 'edge')!r}; 0 compares what two sites have answered anyway"
        )


def _models(value: Any) -> tuple[str, ...] | str:
    if value == EVERY_MODEL:
        return EVERY_MODEL
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ValueError('expected names of models such as ["pets"], or "all"')
    return tuple(value)


def _off_or(read: Callable[[Any], float]) -> Callable[[Any], float | None]:
    """A number, or false."""

    def take(value: Any) -> float | None:
        if value is False:
            return None
        try:
            return read(value)
        except ValueError as error:
            raise ValueError(f"{error}, or false") from None

    return take


def _directory_in(directory: Path) -> Callable[[Any], Path]:
    """A directory that is there or can be made; relative names begin at the one given."""

    def take(value: Any) -> Path:
        path = directory / text(value)
        if path.exists() and not path.is_dir():
            raise ValueError(f"expected a directory, and {path} is a file")
        return path

    return take
