"""Brings a database to the tables of this program; forward only."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from edgewise.core.errors import FailedPreconditionError


def migrate(connection: Connection) -> None:
    """Make the steps that a database lacks, in the connection's transaction.

    Raises: FailedPreconditionError: it was written by a newer program.
    """
    config = migration_config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise FailedPreconditionError(
            "the hub's database was written by a newer Edgewise; start that one, or restore a backup of before"
        ) from error


def migration_config() -> Config:
    """Where the steps are."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
