"""Which hub is asked, and with which token: flags, then the environment, then a file in the user's configuration."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.toml_table import TomlTable
from edgewise.protocols.toml_files import parse_toml

URL_VARIABLE: Final = "EDGEWISE_HUB"
TOKEN_VARIABLE: Final = "EDGEWISE_HUB_TOKEN"  # noqa: S105  the name of a variable
CA_VARIABLE: Final = "EDGEWISE_HUB_CA"
_MAX_BYTES: Final = 1 << 16
_KEYS: Final = ("url", "token", "token_file", "ca")
_NOT_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Connection:
    """How a hub is reached.

    Attributes:
        url: without a slash at its end.
        ca: certificates (PEM) to trust; None for the system's.
    """

    url: str
    token: str
    ca: Path | None = None


class _File(TomlTable):
    """The file, whose values are strings."""

    fault = InvalidArgumentError

    def text(self, name: str) -> str:
        """A string; "" when it is not there."""
        value = self.get(name, required=False, expected="")
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(name, value, "a string")
        return value


def find_connection(
    url: str | None, token_file: Path | None, ca: Path | None, environment: Mapping[str, str]
) -> Connection:
    """Put together what the user said in one place or another.

    Args:
        url, token_file, ca: as flags say; None where they say nothing.
    Raises:
        InvalidArgumentError: the address is none, or the file of the user's configuration is wrong.
        FailedPreconditionError: a file cannot be read, or address or token are said nowhere.
    """
    path = configuration_file(environment)
    file = _read(path)
    found_url = url or environment.get(URL_VARIABLE) or file.text("url")
    if not found_url:
        raise FailedPreconditionError(
            f'which hub? Say --hub URL, set {URL_VARIABLE}, or write url = "https://..." to {path}'
        )
    token = _token(token_file, environment, file, path)
    found_ca = ca or environment.get(CA_VARIABLE) or file.text("ca")
    return Connection(checked_url(found_url), token, Path(found_ca) if found_ca else None)


def configuration_file(environment: Mapping[str, str]) -> Path:
    """Where the user's configuration is.

    Source: XDG Base Directory Specification.
    """
    home = environment.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path("~/.config").expanduser()) / "edgewise" / "hub.toml"


def checked_url(text: str) -> str:
    """An address as it may be, without a slash at its end.

    Raises: InvalidArgumentError: it is none.
    """
    try:
        parts = urlsplit(text)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment or parts.username is not None:
        raise InvalidArgumentError(f"the hub {text!r} is no address, expected one such as https://hub.example:8600")
    return text.rstrip("/")


def _token(token_file: Path | None, environment: Mapping[str, str], file: _File, path: Path) -> str:
    if token_file is not None:
        return _read_token(token_file)
    if environment.get(TOKEN_VARIABLE):
        return environment[TOKEN_VARIABLE].strip()
    if file.text("token"):
        return file.text("token").strip()
    if file.text("token_file"):
        return _read_token(path.parent / Path(file.text("token_file")).expanduser())
    raise FailedPreconditionError(
        f'the hub asks for a token: say --token-file FILE, set {TOKEN_VARIABLE}, or write token_file = "..." to {path}'
    )


def _read_token(path: Path) -> str:
    text = _read_private(path, "the token file").strip()
    if not text or len(text.split()) != 1 or not text.isascii():
        raise FailedPreconditionError(f"the token file {path} holds no token, expected one word")
    return text


def _read(path: Path) -> _File:
    if not path.exists():
        return _File(str(path), "", {})
    return _File(str(path), "", parse_toml(_read_private(path, "the file"), str(path)), _KEYS)


def _read_private(path: Path, what: str) -> str:
    """The text of a file that holds a secret.

    Raises: FailedPreconditionError: it cannot be read, or others may read it.
    """
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _NOT_FOR_OTHERS:
                raise FailedPreconditionError(f"{what} {path} can be read by others; run: chmod 600 {path}")
            return file.read(_MAX_BYTES).decode()
    except OSError as error:
        raise FailedPreconditionError(f"{what} {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise FailedPreconditionError(f"{what} {path} is not UTF-8") from None
