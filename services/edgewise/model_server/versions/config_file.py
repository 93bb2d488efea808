"""Follows the model config file: what it says is served, from the moment it says so."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from edgewise.core.errors import EdgewiseError, FailedPreconditionError
from edgewise.core.versions import ServerConfig
from edgewise.model_server.versions.daemon_thread import run_in_daemon_thread
from edgewise.model_server.versions.repository import Repository

_log = logging.getLogger(__name__)

MAX_BYTES = 16 << 20

Parse = Callable[[str, str], ServerConfig]
"""From text and file name to the config; raises an EdgewiseError that names file and line."""


class ConfigFile:
    """A model config file.

    Args of the constructor:
        path: the file.
        parse: reads its text.
        poll_interval_s: how often the file is looked at; 0 or less reads it once.
    """

    def __init__(self, path: Path, parse: Parse, *, poll_interval_s: float) -> None:
        self.path = path
        self._parse = parse
        self._poll_interval_s = poll_interval_s
        self._text: str | None = None
        self._refused = ""

    def read(self) -> ServerConfig:
        """What the file says now.

        Raises:
            FailedPreconditionError: it cannot be read.
            InvalidArgumentError: it says what cannot be served.
        """
        self._text = self._read_text()
        return self._parse(self._text, self.path.name)

    async def follow(self, repository: Repository) -> None:
        """Have the repository take over what the file says whenever it says something else; runs until it is cancelled.

        A config that is refused (a label whose version does not answer yet, for instance) is offered again each time
        the file is looked at, as TensorFlow Serving does; what is served stays as it is.
        """
        while self._poll_interval_s > 0:
            await asyncio.sleep(self._poll_interval_s)
            await self.poll(repository)

    async def poll(self, repository: Repository) -> None:
        """Look at the file once."""
        try:
            text = await run_in_daemon_thread(self._read_text, "edgewise-config")
            if text == self._text and not self._refused:
                return
            config = self._parse(text, self.path.name)
        except EdgewiseError as error:
            self._refuse(error)
            return
        self._text = text
        try:
            # Loads are not waited for: a config that takes a version back must not wait for one that takes minutes to load.
            await repository.take_over(config)
        except EdgewiseError as error:
            self._refuse(error)
            return
        _log.info("%s is in force", self.path.name)
        self._refused = ""

    def _refuse(self, error: EdgewiseError) -> None:
        if error.message != self._refused:
            _log.warning("%s is not in force: %s", self.path.name, error.message)
        self._refused = error.message

    def _read_text(self) -> str:
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise FailedPreconditionError(f"{self.path} cannot be read: {error.strerror}") from error
        if len(data) > MAX_BYTES:
            raise FailedPreconditionError(f"{self.path.name} has more than {MAX_BYTES} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise FailedPreconditionError(f"{self.path.name} is not UTF-8 text: {error.reason}") from error
