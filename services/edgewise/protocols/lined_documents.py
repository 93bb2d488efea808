"""TOML and YAML that people write by hand: the values, and on which line each of them is, so that a message can name it.

YAML is taken as far as TOML goes: one document, keys that are words and occur once, no anchors.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import hint
from edgewise.protocols.misread_documents import hint_for_comma, hint_for_toml, hint_for_yaml

MAX_BYTES: Final = 32 << 10
"""A hundred waves take half of it. More would keep a hub busy that others wait for."""
_READ_AGAIN_BYTES: Final = 8 * MAX_BYTES
_STATEMENT_ENDS: Final = ("]", '"""', "'''")
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")
_SECTION: Final = re.compile(r"\s*(\[\[?)")


class Form(StrEnum):
    """How a document is written."""

    TOML = "toml"
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class LinedDocument:
    """What was read.

    Attributes:
        file: as messages call it.
        values: what it says.
        lines: from 1, by dotted key such as waves[0].sites; not of every key.
    """

    file: str
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def place(self, key: str) -> str:
        """Where a key is, or what it would be in: "rollout.toml, line 7"."""
        while key and key not in self.lines:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return f"{self.file}, line {self.lines[key]}" if key else self.file


def parse_form(word: str) -> Form:
    """Understand the name of a form.

    Raises: InvalidArgumentError: there is none of that name.
    """
    try:
        return Form(word)
    except ValueError:
        raise InvalidArgumentError(
            f"found the format {word[:40]!r}, expected {' or '.join(Form)}{hint(word, [known.value for known in Form])}"
        ) from None


def read_lined(text: str, form: Form, *, file: str) -> LinedDocument:
    """Read a document whose top is a table.

    Raises: InvalidArgumentError: it is none; the message names file, line and what would be right.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise InvalidArgumentError(f"{file}: longer than {MAX_BYTES} bytes, which is the most")
    try:
        return _toml(text, file) if form is Form.TOML else _yaml(text, file)
    except RecursionError:
        raise InvalidArgumentError(f"{file}: nested too deep") from None


def _toml(text: str, file: str) -> LinedDocument:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.search(str(error))
        line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
        problem = _TOML_PLACE.sub("", str(error))
        raise InvalidArgumentError(f"{file}, line {line}: not TOML: {problem}{hint_for_toml(text, line)}") from None
    return LinedDocument(file, values, _toml_lines(text))


def _toml_lines(text: str) -> dict[str, int]:
    """Where each key of a text is that is known to be TOML."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    section = ""
    for number, statement in _toml_statements(text):
        value = tomllib.loads(statement)
        opening = _SECTION.match(statement)
        if opening is None:
            for path in _paths(value, section):
                lines.setdefault(path, number)
            continue
        section = _section_path(value, counts, is_array=opening[1] == "[[")
        lines.setdefault(section, number)
        lines.setdefault(section.partition("[")[0], number)
    return lines


def _toml_statements(text: str) -> Iterator[tuple[int, str]]:
    """(line, statement): a key with its value, or the head of a table. What ends a statement is that it can be read."""
    statement: list[str] = []
    begin = 1
    left_bytes = _READ_AGAIN_BYTES
    for number, line in enumerate(text.split("\n"), 1):
        if not statement:
            begin = number
        elif not any(end in line for end in _STATEMENT_ENDS):
            statement.append(line)
            continue
        statement.append(line)
        whole = "\n".join(statement)
        left_bytes -= len(whole) if len(statement) > 1 else 0
        if left_bytes < 0:
            return
        try:
            tomllib.loads(whole)
        except tomllib.TOMLDecodeError:
            continue
        if line.strip():
            yield begin, whole
        statement = []


def _section_path(value: Mapping[str, Any], counts: dict[str, int], *, is_array: bool) -> str:
    """The dotted key of the table that a head opens, such as waves[1] for the second [[waves]].

    Args:
        counts: how many tables each array has had so far.
    """
    names = []
    inner: Any = value
    while isinstance(inner, dict) and inner:
        name, inner = next(iter(inner.items()))
        names.append(name)
    path = ""
    for place, name in enumerate(names):
        path = f"{path}.{name}" if path else name
        if is_array and place == len(names) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path += f"[{counts[path] - 1}]"
    return path


def _paths(value: object, path: str) -> Iterator[str]:
    """Every dotted key in a value."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _paths(inner, f"{path}[{place}]")


def _yaml(text: str, file: str) -> LinedDocument:
    reader = _YamlReader(file)
    try:
        values = reader.read(text)
    except yaml.MarkedYAMLError as error:
        number = 0 if error.problem_mark is None else error.problem_mark.line + 1
        line = f", line {number}" if number else ""
        problem = f"{error.problem or error.context}{hint_for_yaml(text, number)}"
        raise InvalidArgumentError(f"{file}{line}: not YAML: {problem}") from None
    except yaml.reader.ReaderError as error:
        line = f", line {text.count(chr(10), 0, int(error.position)) + 1}"
        raise InvalidArgumentError(f"{file}{line}: not YAML: a character that cannot be in it") from None
    return LinedDocument(file, values, reader.lines)


class _PlainLoader(yaml.SafeLoader):
    """Takes no aliases, by which a few lines can stand for more than fits in a memory."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.composer.ComposerError(
                None, None, f"found the alias *{event.anchor}, expected its value written out", event.start_mark
            )
        return super().compose_node(parent, index)


class _YamlReader:
    """Turns the nodes of a document into values, and notes their lines."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.lines: dict[str, int] = {}

    def read(self, text: str) -> Mapping[str, Any]:
        self._text = text
        self._loader = _PlainLoader(text)
        try:
            node = self._loader.get_single_node()
            if node is None:
                return {}
            if not isinstance(node, yaml.MappingNode):
                problem = f"expected keys with values, such as model: pets{hint_for_yaml(text, 0)}"
                raise self._wrong(node.start_mark, problem)
            return self._mapping(node, "")
        finally:
            self._loader.dispose()

    def _value(self, node: yaml.Node, path: str) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(inner, f"{path}[{place}]") for place, inner in enumerate(node.value)]
        if node.tag.startswith("!"):
            raise self._wrong(node.start_mark, f"found {node.tag} as a tag; a text that begins with ! goes in quotes")
        try:
            return self._loader.construct_object(node)
        except ValueError:
            raise self._wrong(node.start_mark, f"found {node.value!r}, which is no value; write it in quotes") from None

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        begin = 0
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._wrong(key.start_mark, "expected a word as key")
            # As it is written: YAML takes the word off for false, also where it is a key.
            name = str(key.value)
            if name in values:
                raise self._wrong(key.start_mark, f"{name} is said twice, expected it once")
            if node.flow_style and ":" not in self._text[key.end_mark.index : value.end_mark.index]:
                found = hint_for_comma(self._text[begin : key.end_mark.index])
                raise self._wrong(key.start_mark, f"found {name!r} with no value{found}")
            begin = key.start_mark.index
            inner = f"{path}.{name}" if path else name
            self.lines[inner] = key.start_mark.line + 1
            values[name] = self._value(value, inner)
        return values

    def _wrong(self, mark: Any, problem: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"{self._file}, line {mark.line + 1}: {problem}")
