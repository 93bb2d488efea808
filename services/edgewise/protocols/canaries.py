"""The file with which an agent tells the gateway of its site how to divide requests between two versions of a model.

{"format": "edgewise-canaries/1", "generation": 7, "canaries": [
    {"site": "edge", "model": "pets", "old": 1, "new": 2, "share": 0.1, "shadow": 0.0, "slow_ms": 12.5, "key": "pets-2-k3f9/3"}]}
"""

from dataclasses import dataclass
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.documents import Document, check_format, document_bytes, read_document

FORMAT: Final = "edgewise-canaries/1"
MAX_CANARIES_BYTES: Final = 1 << 20
_MOST_CANARIES: Final = 1000
_MOST_MS: Final = 1e9
_LONGEST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class CanarySetting:
    """How requests for one model at one site are divided.

    Attributes:
        site: by the name in the gateway's config.
        old, new: the two versions.
        share: of the requests that go to the new version, 0 to 1; each is drawn by itself.
        shadow: of the requests that went to the old version, the share that is asked of the new one as well, 0 to 1.
        slow_ms: an answer that took longer is slow; None while that is not asked.
        key: counts begin anew with another key.
    """

    site: str
    model: str
    old: int
    new: int
    share: float
    shadow: float
    slow_ms: float | None
    key: str


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """All of one gateway.

    Attributes:
        generation: the agent's number of this content, from 1 on; 0 where there is none.
    """

    generation: int = 0
    canaries: tuple[CanarySetting, ...] = ()


NO_CANARIES: Final = CanarySettings()


def encode_canaries(settings: CanarySettings) -> bytes:
    """The file's content."""
    return document_bytes(
        {
            "format": FORMAT,
            "generation": settings.generation,
            "canaries": [setting_value(setting) for setting in settings.canaries],
        }
    )


def setting_value(setting: CanarySetting) -> dict[str, Any]:
    """One entry as JSON has it."""
    return {name: getattr(setting, name) for name in CanarySetting.__slots__}


def decode_canaries(content: bytes) -> CanarySettings:
    """Read the file's content.

    Raises: InvalidArgumentError: it is none; the message says where and what would be right.
    """
    top = read_document(content, "the canary file", max_bytes=MAX_CANARIES_BYTES)
    check_format(top, FORMAT)
    tables = top.tables("canaries", ())
    if len(tables) > _MOST_CANARIES:
        raise top.error("canaries", f"more than {_MOST_CANARIES}")
    settings = CanarySettings(
        generation=top.integer("generation", 1, MAX_VERSION), canaries=tuple(_setting(table) for table in tables)
    )
    _check_apart(settings)
    return settings


def _setting(table: Document) -> CanarySetting:
    old, new = (table.integer(name, 1, MAX_VERSION) for name in ("old", "new"))
    if old == new:
        raise table.error("new", f"found {new}, which is the old version as well; expected another one")
    slow_ms = table.optional_number("slow_ms", _MOST_MS)
    if slow_ms == 0:
        raise table.wrong("slow_ms", 0, "a number of milliseconds above 0, or null")
    return CanarySetting(
        site=_name(table, "site"),
        model=table.model("model"),
        old=old,
        new=new,
        share=table.number("share", 0.0, 1.0),
        shadow=table.number("shadow", 0.0, 1.0, 0.0),
        slow_ms=slow_ms,
        key=_name(table, "key"),
    )


def _name(table: Document, name: str) -> str:
    value = table.text(name, longest=_LONGEST_NAME)
    if not value:
        raise table.wrong(name, value, "a name")
    return value


def _check_apart(settings: CanarySettings) -> None:
    places: set[tuple[str, str]] = set()
    keys: set[str] = set()
    for setting in settings.canaries:
        place = (setting.site, setting.model)
        if place in places:
            raise InvalidArgumentError(
                f"the canary file: {setting.model} at {setting.site} is there twice; expected one canary for each model and site"
            )
        if setting.key in keys:
            raise InvalidArgumentError(f"the canary file: the key {setting.key!r} is there twice; expected each once")
        places.add(place)
        keys.add(setting.key)
