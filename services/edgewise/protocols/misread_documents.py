"""What is likely wrong with a document that is neither TOML nor YAML as it should be: additions to messages, "" where nothing is likely."""

import re
from typing import Final

_TOML_LINE: Final = re.compile(r"""\s*(\[\[?[\w."' -]+\]\]?|[\w."'-]+\s*=(\s.*|["'\[{\d].*)?)\s*(#.*)?""")
_YAML_LINE: Final = re.compile(r"\s*(- +)?[\w-]+:(\s.*)?")
_UNQUOTED: Final = re.compile(r"""\s*([\w-]+)\s*=\s*([^\s"'\[{=#](?:[^"'#]*[^\s"'#])?)\s*(#.*)?""")
_LONGEST_SHOWN: Final = 60


def hint_for_toml(text: str, line: int) -> str:
    """Of a text that could not be read as TOML.

    Args:
        line: on which it went wrong, from 1.
    """
    near = _line(text, line)
    if any(_YAML_LINE.fullmatch(one) for one in (_first(text), near)):
        return "; it looks like YAML, and a file of YAML ends in .yaml"
    found = _UNQUOTED.fullmatch(near)
    if found is None or len(near) > _LONGEST_SHOWN or not near.strip().isprintable():
        return ""
    return f'; a text goes in quotes: {found[1]} = "{found[2]}"'


def hint_for_yaml(text: str, line: int) -> str:
    """Of a text that could not be read as YAML.

    Args:
        line: on which it went wrong, from 1.
    """
    if any(_TOML_LINE.fullmatch(one) for one in (_first(text), _line(text, line), _line(text, line - 1))):
        return "; it looks like TOML, and a file of TOML ends in .toml"
    return ""


def hint_for_comma(written: str) -> str:
    """Of a key without a value, inside braces.

    Args:
        written: from the key before it to its own end, such as "sites: tier=edge,us".
    """
    key, colon, value = written.partition(":")
    if not colon or len(written) > _LONGEST_SHOWN or '"' in written or not written.isprintable():
        return ""
    return f'; a text with a comma in it goes in quotes: {key.strip()}: "{value.strip()}"'


def _first(text: str) -> str:
    """The first line that says something."""
    lines = (line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#"))
    return next(lines, "").rstrip("\r")


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""
