"""What Alembic runs: the steps that a database lacks, all in the transaction of the connection that it was given."""

from alembic import context

from edgewise.hub.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # A database has all the steps or none of the new ones, wherever the process is killed. SQLite can do that as well.
    transactional_ddl=True,
)
context.run_migrations()
