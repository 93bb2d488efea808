"""What a hub answers, as the types that it made it of: keys that are not known are passed over, so a newer hub is understood."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from edgewise.core.errors import FailedPreconditionError

_Made = TypeVar("_Made")
_NUMBERS: Final = (int, float)


def as_type(kind: type[_Made], value: object, where: str) -> _Made:
    """A value of JSON as a type: dataclasses of strings, numbers, flags, enumerations, mappings, tuples and one another.

    Args:
        where: what it is, for messages, such as "the rollout".
    Raises: FailedPreconditionError: it is no such thing.
    """
    made: _Made = _made(kind, value, where)
    return made


def as_tuple(kind: type[_Made], value: object, name: str) -> tuple[_Made, ...]:
    """A list of things.

    Args:
        name: what they are, for messages, such as "sites".
    Raises: FailedPreconditionError: it is none.
    """
    if not isinstance(value, list):
        raise _unlike(name)
    return tuple(as_type(kind, one, f"{name}[{place}]") for place, one in enumerate(value))


def _made(kind: Any, value: object, where: str) -> Any:
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        if value is None:
            return None
        return _made(next(each for each in get_args(kind) if each is not types.NoneType), value, where)
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is not None:
        return _container(origin, get_args(kind), value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            raise _unlike(where) from None
    return _plain(kind, value, where)


def _plain(kind: Any, value: object, where: str) -> Any:
    if kind is float and isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return float(value)
    # True is an int to Python, and no number to JSON.
    if type(value) is not kind:
        raise _unlike(where)
    return value


def _container(origin: Any, inner: tuple[Any, ...], value: object, where: str) -> Any:
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _unlike(where)
        return {name: _made(inner[1], one, f"{where}.{name}") for name, one in value.items()}
    if not isinstance(value, list):
        raise _unlike(where)
    return tuple(_made(inner[0], one, f"{where}[{place}]") for place, one in enumerate(value))


def _dataclass(kind: Any, value: object, where: str) -> Any:
    if not isinstance(value, dict):
        raise _unlike(where)
    found = {}
    for field in fields(kind):
        if field.name in value:
            found[field.name] = _made(_hints(kind)[field.name], value[field.name], f"{where}.{field.name}")
        elif not _has_default(field):
            raise _unlike(f"{where}.{field.name}")
    return kind(**found)


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _unlike(where: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"the hub's answer is not understood at {where}: hub and this command are of different versions, or it is no hub"
    )
