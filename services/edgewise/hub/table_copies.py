"""The hub's tables as lines of JSON, and back: SQLite and PostgreSQL alike.

{"table": "sites", "row": {"name": "factory-7", ...}}       bytes are {"base64": "..."}

Nothing here knows what is in a table: a backup of an older program is loaded into the tables that it was made of, which the hub brings up to
date when it starts.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from alembic import command
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    NullPool,
    Table,
    create_engine,
    event,
    func,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, UnavailableError
from edgewise.hub.store.migration import migration_config

_VERSIONS: Final = "alembic_version"
_AT_ONCE: Final = 1000
_BYTES: Final = "base64"


def dump_tables(database: str, file: BinaryIO) -> str:
    """Write all rows of all tables, as they are at one moment.

    Args:
        database: its URL; a hub may be using it.
    Returns: the revision of its tables.
    Raises:
        FailedPreconditionError: it is no hub's.
        UnavailableError: it cannot be read.
    """
    engine = _engine(database)
    try:
        with engine.connect().execution_options(isolation_level=_one_moment(engine)) as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
            if revision is None:
                raise FailedPreconditionError("the database holds no hub; is --database right?")
            for table in _tables(connection):
                file.writelines(
                    json.dumps({"table": table.name, "row": dict(row)}, default=_plain).encode() + b"\n"
                    for row in connection.execution_options(yield_per=_AT_ONCE).execute(select(table)).mappings()
                )
            return revision
    except SQLAlchemyError as error:
        raise UnavailableError(f"the database cannot be read: {_first_line(error)}") from error
    finally:
        engine.dispose()


def load_tables(database: str, revision: str, file: BinaryIO) -> None:
    """Make the tables of a revision and fill them, in one transaction.

    Raises:
        AlreadyExistsError: there is something in the database.
        FailedPreconditionError: the revision is not known: a newer program wrote it.
        InvalidArgumentError: the lines are none of these tables.
        UnavailableError: the database cannot be written.
    """
    config = migration_config()
    if revision not in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}:
        raise FailedPreconditionError("the backup was made by a newer Edgewise; restore it with that one")
    engine = _engine(database)
    try:
        with engine.begin() as connection:
            if MigrationContext.configure(connection).get_current_revision() is not None:
                raise AlreadyExistsError("there is a hub in the database already; restore to an empty one")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            tables = {table.name: table for table in _tables(connection)}
            for table in reversed(tables.values()):
                connection.execute(table.delete())
            _insert(connection, tables, file)
            if engine.dialect.name == "postgresql":
                _count_on(connection, tables)
    except SQLAlchemyError as error:
        raise UnavailableError(f"the database cannot be written: {_first_line(error)}") from error
    finally:
        engine.dispose()


def _insert(connection: Connection, tables: dict[str, Table], file: BinaryIO) -> None:
    waiting: list[dict[str, Any]] = []
    last = ""
    for name, row in _rows(file):
        if name not in tables or set(row) != set(tables[name].columns.keys()):
            raise InvalidArgumentError(f"the backup holds a row that does not fit the table {name[:80]!a}")
        if waiting and (name != last or len(waiting) >= _AT_ONCE):
            connection.execute(insert(tables[last]), waiting)
            waiting = []
        waiting.append({column.name: _value(column, row[column.name]) for column in tables[name].columns})
        last = name
    if waiting:
        connection.execute(insert(tables[last]), waiting)


def _value(column: Column[Any], value: Any) -> Any:
    if not isinstance(column.type, LargeBinary) or value is None:
        return value
    try:
        return base64.b64decode(value[_BYTES], validate=True)
    except (ValueError, KeyError, TypeError):
        raise InvalidArgumentError(f"the backup holds no bytes where the column {column.name} has them") from None


def _rows(file: BinaryIO) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in file:
        try:
            value = json.loads(line)
            yield str(value["table"]), dict(value["row"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidArgumentError("the backup holds a line that is no row") from None


def _count_on(connection: Connection, tables: dict[str, Table]) -> None:
    """Have PostgreSQL number new rows after those that were brought with numbers of their own."""
    for table in tables.values():
        for column in table.primary_key:
            sequence = connection.execute(
                text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
            ).scalar()
            greatest = connection.execute(select(func.max(column))).scalar() if sequence else None
            if greatest is not None:
                connection.execute(text("SELECT setval(:sequence, :value)"), {"sequence": sequence, "value": greatest})


def _tables(connection: Connection) -> list[Table]:
    """All but the migrations' own, those first that others refer to."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != _VERSIONS]


def _engine(database: str) -> Engine:
    """One of its own: to open the hub's store would end the hub that uses it."""
    try:
        url: URL = make_url(database)
    except (ArgumentError, ValueError):
        raise InvalidArgumentError("the database's URL is none; expected sqlite:///FILE or postgresql://...") from None
    if url.get_backend_name() == "postgresql":
        return create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
    engine = create_engine(url, poolclass=NullPool)
    # Python's own way would begin a transaction before the first writing statement only.
    event.listen(engine, "connect", lambda connection, _record: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _one_moment(engine: Engine) -> str:
    """What makes a transaction see the same all the time; SQLite's does by itself."""
    return "REPEATABLE READ" if engine.dialect.name == "postgresql" else "SERIALIZABLE"


def _plain(value: object) -> object:
    if isinstance(value, bytes | memoryview):
        return {_BYTES: base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


def _first_line(error: SQLAlchemyError) -> str:
    return (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0][:300]
