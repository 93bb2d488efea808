"""The hub's database: SQLite in a file, or PostgreSQL by its URL.

One process writes it. Each that opens it counts an epoch up, and every transaction looks whether that is still the last one: a hub that was
taken for dead, and is not, writes nothing over what its successor decided.
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select, update
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from edgewise.hub.store.migration import migrate
from edgewise.hub.store.schema import HUB

_EXPECTED: Final = "expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_BUSY_S: Final = 10.0
_CONNECT_S: Final = 10
_STATEMENT_MS: Final = 30_000
_SILENT_NETWORK_MS: Final = 10_000
_RETRY_S: Final = 1.0
_log = logging.getLogger(__name__)


class Store:
    """An open database, with the tables of this program.

    Args:
        url: sqlite:///FILE or postgresql://...

    Attributes:
        engine: of SQLAlchemy.

    Raises:
        InvalidArgumentError: the URL is none.
        UnavailableError: the database cannot be opened.
        FailedPreconditionError: it was written by a newer program.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(_url(url))
        try:
            with _told(), self.engine.begin() as connection:
                migrate(connection)
                self._epoch: int = connection.execute(select(HUB.c.epoch)).scalar_one() + 1
                connection.execute(update(HUB).values(epoch=self._epoch))
        except BaseException:
            self.engine.dispose()
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing: what is written inside is there when this ends, and nothing of it when it raises.

        Raises:
            UnavailableError: the database cannot be asked, or has not said whether it committed.
            FailedPreconditionError: another process has opened the database since.
        """
        with _told(), self.engine.begin() as connection:
            # In PostgreSQL the row is held until the commit, and who opens the database waits for that.
            epoch = connection.execute(select(HUB.c.epoch).with_for_update(read=True)).scalar_one()
            if epoch != self._epoch:
                raise FailedPreconditionError("another hub has opened the database; this one can write no more")
            yield connection

    def close(self) -> None:
        """Let the database go."""
        self.engine.dispose()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What a database says goes to the log."""
    try:
        yield
    except SQLAlchemyError as error:
        _log.exception("the hub's database failed")
        raise UnavailableError("the hub's database cannot be asked now; try again", retry_after_s=_RETRY_S) from error


def _url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise InvalidArgumentError(f"the database's URL is none; {_EXPECTED}") from None
    match url.get_backend_name():
        case "sqlite" if url.database and url.database != ":memory:":
            return url
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
    raise InvalidArgumentError(f"the database's URL begins with {url.drivername!r}; {_EXPECTED}")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _BUSY_S, "check_same_thread": False})
        _make_private(Path(url.database or ""))
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        url,
        pool_size=1,
        max_overflow=1,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": _CONNECT_S,
            "tcp_user_timeout": _SILENT_NETWORK_MS,
            "options": f"-c statement_timeout={_STATEMENT_MS}",
        },
    )


def _make_private(path: Path) -> None:
    """Before SQLite makes it for everybody to read."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise UnavailableError(f"the database {path} cannot be opened: {error.strerror}") from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # Python's own way begins a transaction before the first writing statement only; see `_begin_sqlite`.
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
