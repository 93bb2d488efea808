"""What can be set: a TOML file, and the command line, which goes first."""

import argparse
import dataclasses
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from doggy_door.asking import Confidences
from doggy_door.door import Rules
from doggy_door.naming import OwnNames
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import TomlTable

ROUTES: Final = ("", "prefer-edge", "edge-only", "prefer-cloud", "cascade", "fastest", "cloud-only")
LOCKS: Final = ("terminal", "dry", "file")
_TOP: Final = (
    "gateway",
    "model",
    "route",
    "source",
    "deadline_ms",
    "fps",
    "log",
    "api_key_file",
    "lock",
    "door",
    "confidence",
    "labels",
)
_LOCK: Final = ("kind", "file", "open", "shut", "heartbeat_s")
_SECONDS: Final = ("window_s", "veto_s", "hold_s", "max_open_s", "silent_s", "stale_s")
_DOOR: Final = ("needed", "of", *_SECONDS)
_MAX_SOURCE: Final = 128
"""Letters of a source; the gateway keeps no more."""


@dataclass(frozen=True, slots=True)
class LockSettings:
    """The lock.

    Attributes:
        kind: one of `LOCKS`.
        file, opened, shut: for `file`: what it follows, and what is written there.
        heartbeat_s: it falls shut when it was told nothing for so long.
    """

    kind: str = "terminal"
    file: str = ""
    opened: str = "1"
    shut: str = "0"
    heartbeat_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but where the pictures come from.

    Attributes:
        gateway: its URL.
        deadline_ms: an answer that takes longer is none.
        fps: so many pictures a second are asked about, at most.
        log: a file of JSON lines; "" for none.
        api_key_file: holds the key that the gateway wants; "" for none.
    """

    gateway: str = "http://127.0.0.1:8080"
    model: str = "pets"
    route: str = "prefer-edge"
    source: str = "doggy-door"
    deadline_ms: int = 500
    fps: float = 4.0
    log: str = "doggy-door.jsonl"
    api_key_file: str = ""
    lock: LockSettings = field(default_factory=LockSettings)
    rules: Rules = field(default_factory=Rules)
    confidences: Confidences = field(default_factory=Confidences)
    names: OwnNames = field(default_factory=OwnNames)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for.

    Attributes:
        kind, place: of the source: `folder`, `watch` or `video` with a path, or `camera` with a number.
        is_plain: lines, also on a terminal.
    """

    settings: Settings
    kind: str
    place: str
    is_plain: bool


class _Table(TomlTable):
    fault = InvalidArgumentError

    def text(self, name: str, default: str, one_of: Sequence[str] = ()) -> str:
        """A string, of those that may be where they are listed."""
        value = self.get(name, required=False, expected="a text")
        if value is None:
            return default
        if not isinstance(value, str) or (one_of and value not in one_of):
            raise self.wrong(name, value, f"one of {', '.join(repr(one) for one in one_of)}" if one_of else "a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, none of them empty."""
        expected = "a list of texts"
        values = self.items(name, expected)
        for place, value in enumerate(values):
            if not isinstance(value, str) or not value.strip():
                raise self.wrong(f"{name}[{place}]", value, "a label of the model's")
        return tuple(values)


def read_settings(file: str, document: dict[str, Any]) -> Settings:
    """The settings that a TOML document says.

    Args:
        file: its name, for messages.
        document: what the TOML parser gave.

    Raises:
        InvalidArgumentError: which key is wrong, what was found, and what would be right.
    """
    usual = Settings()
    top = _Table(file, "", document, _TOP, {"[door]": _DOOR, "[lock]": _LOCK})
    settings = Settings(
        gateway=top.text("gateway", usual.gateway),
        model=top.text("model", usual.model),
        route=top.text("route", usual.route, ROUTES),
        source=_source(top, usual.source),
        deadline_ms=top.integer("deadline_ms", 10, 10_000, usual.deadline_ms),
        fps=top.number("fps", 0.1, 60, usual.fps),
        log=top.text("log", usual.log),
        api_key_file=top.text("api_key_file", usual.api_key_file),
        lock=_lock(top.table("lock", _LOCK)),
        rules=_rules(top.table("door", _DOOR)),
        confidences=_confidences(top.table("confidence", ("dog", "cat"))),
        names=_names(top.table("labels", ("dog", "cat"))),
    )
    longest_s = settings.deadline_ms / 1000 + 1 / settings.fps
    for name, value in (("lock.heartbeat_s", settings.lock.heartbeat_s), ("door.silent_s", settings.rules.silent_s)):
        if value <= longest_s:
            raise InvalidArgumentError(
                f"{file}: {name}: found {value:g}, which is no more than one picture may take ({longest_s:g} s: deadline_ms and "
                "the time until the next one); expected more, or a shorter deadline_ms, or more fps"
            )
    return settings


def _source(table: _Table, usual: str) -> str:
    source = table.text("source", usual)
    if len(source) > _MAX_SOURCE or not (source.isascii() and source.isprintable()):
        raise table.wrong("source", source, f"at most {_MAX_SOURCE} printable ASCII characters, such as {usual}")
    return source


def _lock(table: _Table) -> LockSettings:
    usual = LockSettings()
    lock = LockSettings(
        kind=table.text("kind", usual.kind, LOCKS),
        file=table.text("file", usual.file),
        opened=table.text("open", usual.opened),
        shut=table.text("shut", usual.shut),
        heartbeat_s=table.number("heartbeat_s", 0.1, 60, usual.heartbeat_s),
    )
    if lock.kind == "file" and not lock.file:
        raise table.missing("file", "the file that the lock follows, such as '/sys/class/leds/doggy-door/brightness'")
    if lock.file and "kind" not in table:
        raise table.missing("kind", "'file', so that the file is used, or 'terminal' or 'dry', which move nothing")
    if lock.opened == lock.shut:
        raise table.wrong("shut", lock.shut, "something else than what opens")
    return lock


def _rules(table: _Table) -> Rules:
    usual = Rules()
    seconds = {name: table.number(name, 0.1, 3600, getattr(usual, name)) for name in _SECONDS}
    try:
        return Rules(
            needed=table.integer("needed", 1, 100, usual.needed), of=table.integer("of", 1, 100, usual.of), **seconds
        )
    except ValueError as error:
        raise table.error("needed", str(error)) from None


def _confidences(table: _Table) -> Confidences:
    usual = Confidences()
    return Confidences(dog=table.number("dog", 0.05, 1, usual.dog), cat=table.number("cat", 0.001, 1, usual.cat))


def _names(table: _Table) -> OwnNames:
    return OwnNames(dog=table.texts("dog"), cat=table.texts("cat"))


def parse(words: Sequence[str] | None = None) -> Wanted:
    """Read the command line, and the file that it names.

    Raises:
        InvalidArgumentError: a file that cannot be used.
        SystemExit: arguments that cannot be used, and `--help`.
    """
    parser = argparse.ArgumentParser(
        prog="doggy_door",
        description="Opens a door for a dog and never for a cat; asks an Edgewise gateway what it sees.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--camera", metavar="N", help="a camera, such as 0 (needs OpenCV)")
    source.add_argument("--watch", metavar="FOLDER", help="pictures as they appear in a folder")
    source.add_argument("--folder", metavar="FOLDER", help="the pictures of a folder, once, by name")
    source.add_argument("--video", metavar="FILE", help="a video file (needs OpenCV)")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="TOML; all keys are in door.toml beside the program"
    )
    parser.add_argument("--gateway", metavar="URL")
    parser.add_argument("--model", metavar="NAME")
    parser.add_argument("--route", choices=[route for route in ROUTES if route])
    parser.add_argument("--source", metavar="NAME", help="this door's name, which goes with each picture")
    parser.add_argument("--deadline-ms", type=int, metavar="MS")
    parser.add_argument("--fps", type=float, metavar="N", help="pictures a second, at most")
    parser.add_argument("--log", metavar="FILE", help='JSON lines; "" for none')
    parser.add_argument("--lock", choices=LOCKS)
    parser.add_argument("--lock-file", metavar="FILE", help="what the lock follows; makes it --lock file")
    for kind in ("dog", "cat"):
        parser.add_argument(
            f"--{kind}-label", action="append", metavar="NAME", help=f"what the model calls a {kind}; may be repeated"
        )
    parser.add_argument("--plain", action="store_true", help="lines instead of a picture of the door")
    given = parser.parse_args(words)
    if given.lock_file is not None and given.lock not in {None, "file"}:
        parser.error(f"--lock-file goes with --lock file; --lock {given.lock} moves no file")
    document = {} if given.settings is None else _document(given.settings)
    for name in ("gateway", "model", "route", "source", "deadline_ms", "fps", "log"):
        if getattr(given, name) is not None:
            document[name] = getattr(given, name)
    lock = {"kind": given.lock or (given.lock_file and "file"), "file": given.lock_file}
    if isinstance(document.setdefault("lock", {}), dict):
        document["lock"] |= {name: value for name, value in lock.items() if value is not None}
    labels = {"dog": given.dog_label, "cat": given.cat_label}
    if isinstance(document.setdefault("labels", {}), dict):
        document["labels"] |= {name: value for name, value in labels.items() if value is not None}
    kind = next(name for name in ("camera", "watch", "folder", "video") if getattr(given, name) is not None)
    place = getattr(given, kind)
    if kind == "camera" and not (place.isascii() and place.isdigit()):
        parser.error(f"--camera {place}: expected a number, 0 for the first camera")
    settings = read_settings("the settings" if given.settings is None else str(given.settings), document)
    return Wanted(settings, kind, place, given.plain)


def api_key(settings: Settings) -> str | None:
    """The key that the gateway wants.

    Raises:
        InvalidArgumentError: its file cannot be read.
    """
    if not settings.api_key_file:
        return None
    try:
        return Path(settings.api_key_file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"api_key_file {settings.api_key_file} cannot be read: {error}") from None


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InvalidArgumentError(f"{path} is no TOML: {error}") from None


def usual_document() -> dict[str, Any]:
    """All keys with what they are where nobody says otherwise, as `door.toml` has them."""
    usual = Settings()
    lock = dataclasses.asdict(usual.lock)
    lock["open"] = lock.pop("opened")
    top = {name: getattr(usual, name) for name in _TOP if name not in {"lock", "door", "confidence", "labels"}}
    tables = {
        "lock": lock,
        "door": dataclasses.asdict(usual.rules),
        "confidence": dataclasses.asdict(usual.confidences),
        "labels": {name: list(values) for name, values in dataclasses.asdict(usual.names).items()},
    }
    return top | tables
