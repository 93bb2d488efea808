"""The hub's own directory.

DIR/hub.json, DIR/lock                      under which address sites reach the hub; held by the process that serves
DIR/online.key, online-2.key, ...           sign snapshots and timestamps; the highest number is the newest
DIR/desired.key, desired-2.key, ...         sign what sites are told
DIR/public-keys.json                        public halves of the newest, for the machine with the offline keys
DIR/hub.sqlite, DIR/blobs, DIR/tuf          what the hub knows and gives out
"""

import contextlib
import fcntl
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.protocols.documents import check_format, document_bytes, read_document
from edgewise.trust.durable_files import write_durably
from edgewise.trust.keys import SigningKey

SETTINGS_FORMAT: Final = "edgewise-hub/1"
KEYS_FORMAT: Final = "edgewise-hub-keys/1"
_MAX_BYTES: Final = 65536
_URL: Final = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")


class KeyKind(StrEnum):
    """What the hub signs with a key."""

    ONLINE = "online"
    DESIRED = "desired"


class StateDirectory:
    """Names and contents of what lies in it.

    Args:
        root: the directory; it need not be there yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tuf = root / "tuf"
        self.public_keys = root / "public-keys.json"
        self.settings = root / "hub.json"
        self.database = root / "hub.sqlite"

    @property
    def default_database(self) -> str:
        """The URL of the database in it."""
        return f"sqlite:///{self.database.absolute()}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the only process that works on it.

        Raises: FailedPreconditionError: another one does, or the directory cannot be written.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.root / "lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
        except BlockingIOError:
            raise FailedPreconditionError(f"a hub is running on {self.root}; stop it, or ask it over its API") from None
        except PermissionError as error:
            raise FailedPreconditionError(f"{self.root} cannot be written: {error.strerror}") from error

    def keys(self, kind: KeyKind) -> list[SigningKey]:
        """Those of a kind, the newest first.

        Raises: FailedPreconditionError: one cannot be read.
        """
        return [SigningKey.read(path) for _, path in reversed(self._key_files(kind))]

    def make_key(self, kind: KeyKind) -> SigningKey:
        """A new key beside those that are there, and told to who takes `public-keys.json` along."""
        files = self._key_files(kind)
        number = files[-1][0] + 1 if files else 1
        key = SigningKey.generated()
        key.write(self.root / (f"{kind}.key" if number == 1 else f"{kind}-{number}.key"))
        return key

    def write_public_keys(self) -> None:
        """What the machine with the offline keys has to know."""
        newest = {kind.value: self.keys(kind)[0].public_hex for kind in KeyKind}
        write_durably(self.public_keys, document_bytes({"format": KEYS_FORMAT, **newest}) + b"\n")

    def write_settings(self, url: str) -> None:
        """Args: url: under which sites reach the hub; "" for whatever they come by."""
        write_durably(self.settings, document_bytes({"format": SETTINGS_FORMAT, "url": checked_url(url)}) + b"\n")

    def url(self) -> str:
        """Under which sites reach the hub; "" where nobody said it.

        Raises: FailedPreconditionError: there is no hub in this directory.
        """
        try:
            content = self.settings.read_bytes()
        except OSError as error:
            raise FailedPreconditionError(
                f"{self.root} holds no hub ({error.strerror}: {self.settings.name}); make one: edgewise hub init --state {self.root}"
            ) from error
        top = read_document(content, str(self.settings), max_bytes=_MAX_BYTES)
        check_format(top, SETTINGS_FORMAT)
        return top.text("url", "")

    def _key_files(self, kind: KeyKind) -> list[tuple[int, Path]]:
        name = re.compile(rf"{kind}(?:-([1-9][0-9]{{0,5}}))?\.key")
        found = ((name.fullmatch(path.name), path) for path in self.root.iterdir())
        return sorted((int(match[1] or 1), path) for match, path in found if match)


def read_public_keys(path: Path) -> dict[KeyKind, str]:
    """What `write_public_keys` wrote: public keys, 64 hexadecimal digits each.

    Raises:
        FailedPreconditionError: the file cannot be read.
        InvalidArgumentError: it is none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FailedPreconditionError(f"{path} cannot be read: {error.strerror}") from error
    top = read_document(content, str(path), max_bytes=_MAX_BYTES)
    check_format(top, KEYS_FORMAT)
    return {kind: top.sha256(kind.value) for kind in KeyKind}


def checked_url(url: str) -> str:
    """An address of a hub, without a slash at its end; "" for none.

    Raises: InvalidArgumentError: it is no address.
    """
    if url and not _URL.fullmatch(url):
        raise InvalidArgumentError(f"--url {url}: expected an address such as https://hub.example.com")
    return url.rstrip("/")
