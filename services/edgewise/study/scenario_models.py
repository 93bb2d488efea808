"""The models of a scenario: what a name alone stands for, and what a table adds to it."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from edgewise.core.toml_table import hint
from edgewise.study.scenario import ModelKind, ModelSpec, SiteSpec
from edgewise.study.scenario_table import Table

KINDS: Final = ("pets", "zoo", "tiny", "repository")
VARIANTS: Final = ("cloud", "edge", "edge-lite2", "edge-float32")
ZOO: Final = MappingProxyType(
    {
        "alexnet": "probabilities",
        "densenet121": "scores",
        "inception_v1": "probabilities",
        "inception_v2": "probabilities",
        "resnet50": "probabilities",
        "shufflenet": "probabilities",
        "squeezenet": "probabilities",
        "vgg19": "probabilities",
        "zfnet512": "probabilities",
    }
)
"""The networks of `edgewise models build zoo`, and what each calls its output."""

_KEYS: Final = ("kind", "served_as", "network", "variants", "directory", "batching", "config")
_BATCHING_KEYS: Final = ("max_batch_size", "max_delay_ms", "allowed_batch_sizes", "max_queue", "instances")
_ZOO_INPUT: Final = "input"
_ZOO_CLASSES: Final = 1000
_ZOO_SIDE_PX: Final = 224
_ZOO_RESIZE_PX: Final = 256


def implied(name: str, sites: Sequence[SiteSpec]) -> ModelSpec | None:
    """The model that a name stands for without a table of its own; None when it stands for none."""
    if name in ZOO:
        return ModelSpec(name, served_as=name, kind="zoo", network=name, config=zoo_image_signature(name))
    if name == "tiny":
        return ModelSpec(name, served_as=name, kind="tiny")
    if name == "pets":
        return ModelSpec(name, served_as=name, kind="pets", variants=_variants_by_tier(sites))
    return None


def read_models(tables: Table, sites: Sequence[SiteSpec], directory: Path) -> tuple[ModelSpec, ...]:
    """The models that a scenario declares.

    Args:
        tables: `[model]`, by name.
        directory: where relative names begin.
    Raises: InvalidArgumentError: a key is unknown, of the wrong type, or does not go with the kind.
    """
    return tuple(_model(name, tables.table(name, _KEYS), sites, directory) for name in tables)


def zoo_image_signature(network: str) -> str:
    """Tables for model.toml that let a network of the zoo answer photographs, as ResNet and its kin are most often fed.

    Without them it takes a tensor of 600 kB, and a study of it would measure nothing but the uplink.
    """
    labels = ", ".join(f'"class {number}"' for number in range(_ZOO_CLASSES))
    return f"""
[signatures.image]
kind = "image"
base = "serving_default"
input = "image"

[signatures.image.preprocess]
tensor = "{_ZOO_INPUT}"
resize = {_ZOO_RESIZE_PX}
crop = {_ZOO_SIDE_PX}
mean = [123.675, 116.28, 103.53]
scale = [58.395, 57.12, 57.375]
layout = "NCHW"
interpolation = "bilinear"

[signatures.image.postprocess]
tensor = "{ZOO[network]}"
top_k = 5
labels = [{labels}]
"""


def read_batching(table: Table) -> Mapping[str, object]:
    """Keys of `[batching]` in model.toml, those that are given.

    Args:
        table: made with `batching_keys`.
    Raises: InvalidArgumentError: one is out of range.
    """
    found: dict[str, object] = {}
    most = table.integer("max_batch_size", 1, 4096, 32)
    for name, low, high in (("max_batch_size", 1, 4096), ("max_queue", 1, 1_000_000), ("instances", 1, 64)):
        if name in table:
            found[name] = table.integer(name, low, high, 1)
    if "max_delay_ms" in table:
        found["max_delay_ms"] = table.number("max_delay_ms", 0, 10_000)
    if "allowed_batch_sizes" in table:
        sizes = list(table.integers("allowed_batch_sizes", 1, 4096))
        if sizes and (sizes != sorted(set(sizes)) or sizes[-1] != most):
            raise table.wrong("allowed_batch_sizes", sizes, f"rising sizes that end with max_batch_size = {most}")
        found["allowed_batch_sizes"] = sizes
    return found


def batching_keys() -> tuple[str, ...]:
    """The keys that `read_batching` knows."""
    return _BATCHING_KEYS


def checked_toml(table: Table, name: str) -> str:
    """Text that is TOML itself, "" when it is not there.

    Raises: InvalidArgumentError: it is none.
    """
    text = table.text(name, "")
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise table.error(name, f"not TOML: {error}") from None
    return text


def _model(name: str, table: Table, sites: Sequence[SiteSpec], directory: Path) -> ModelSpec:
    kind = _kind(name, table)
    for key, goes_with in (("network", "zoo"), ("variants", "pets"), ("directory", "repository")):
        if key in table and kind != goes_with:
            raise table.error(key, f"goes with kind = {goes_with!r}, and this is {kind!r}")
    network = ""
    if kind == "zoo":
        network = table.choice("network", tuple(ZOO), name if name in ZOO else None)
    return ModelSpec(
        name,
        served_as=_served_as(table, kind, network or (name if kind == "repository" else kind)),
        kind=kind,
        network=network,
        variants=_variants(table.table("variants", tuple(site.name for site in sites)), sites)
        if kind == "pets"
        else {},
        directory=_directory(name, table, directory) if kind == "repository" else None,
        batching=read_batching(table.table("batching", _BATCHING_KEYS)),
        config=_config(table, network),
    )


def _kind(name: str, table: Table) -> ModelKind:
    implied_kind = None
    if name in ("pets", "tiny"):
        implied_kind = name
    elif name in ZOO or "network" in table:
        implied_kind = "zoo"
    elif "directory" in table:
        implied_kind = "repository"
    return cast("ModelKind", table.choice("kind", KINDS, implied_kind))


def _served_as(table: Table, kind: ModelKind, default: str) -> str:
    """What is built becomes a directory of this name; what is there already is called as it is."""
    if "served_as" not in table:
        return default
    return table.text("served_as") if kind == "repository" else table.name_of("served_as")


def _config(table: Table, network: str) -> str:
    """What the table says; a network of the zoo has its image signature beside it, unless the table brings one."""
    said = checked_toml(table, "config")
    if not network or "signatures" in tomllib.loads(said):
        return said
    return f"{said}\n{zoo_image_signature(network)}"


def _variants_by_tier(sites: Sequence[SiteSpec]) -> Mapping[str, str]:
    return {site.name: site.tier for site in sites}


def _variants(table: Table, sites: Sequence[SiteSpec]) -> Mapping[str, str]:
    said = {name: table.choice(name, VARIANTS) for name in table}
    return {**_variants_by_tier(sites), **said}


def _directory(name: str, table: Table, directory: Path) -> Path | None:
    """A repository's place; without one, every site has to be there already, which `scenario_checks` looks at."""
    if "directory" not in table:
        return None
    path = directory / table.text("directory")
    served_as = table.text("served_as", name)
    if not path.is_dir():
        raise table.error("directory", f"there is no directory {path}")
    models = sorted(one.name for one in path.iterdir() if one.is_dir())
    if served_as not in models:
        raise table.error(
            "served_as",
            f"there is no model {served_as!r} in {path}{hint(served_as, models)}; there are {', '.join(models[:10]) or 'none'}",
        )
    return path
