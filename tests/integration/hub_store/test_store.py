"""The store on SQLite and on PostgreSQL: its tables, its transactions, and who may write."""

import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from edgewise.hub.store.journals import Deed, insert_deeds, select_deeds
from edgewise.hub.store.migration import migration_config
from edgewise.hub.store.schema import METADATA
from edgewise.hub.store.store import Store


def deed(subject):
    return Deed(1.0, "olga", "", "test", subject, {})


@pytest.fixture
def store(database_url):
    opened = Store(database_url)
    yield opened
    opened.close()


def test_the_steps_make_what_the_program_believes(store):
    with store.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_the_steps_are_one_line():
    assert len(ScriptDirectory.from_config(migration_config()).get_heads()) == 1


def test_an_opened_database_is_brought_up_once(store, database_url):
    with store.transaction() as connection:
        insert_deeds(connection, [deed("kept")])
    store.close()
    again = Store(database_url)
    with again.transaction() as connection:
        assert [one.subject for one in select_deeds(connection, before=None, limit=9)] == ["kept"]
    again.close()


def test_a_transaction_is_written_whole_or_not_at_all(store):
    def half():
        with store.transaction() as connection:
            insert_deeds(connection, [deed("lost")])
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        half()
    with store.transaction() as connection:
        assert select_deeds(connection, before=None, limit=9) == []


def test_who_opens_the_database_last_writes(store, database_url):
    successor = Store(database_url)

    def late():
        with store.transaction() as connection:
            insert_deeds(connection, [deed("too late")])

    with pytest.raises(FailedPreconditionError, match="another hub has opened the database"):
        late()
    with successor.transaction() as connection:
        insert_deeds(connection, [deed("in time")])
        assert [one.subject for one in select_deeds(connection, before=None, limit=9)] == ["in time"]
    successor.close()


def test_a_database_of_a_newer_program_is_left_alone(store, database_url):
    with store.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(FailedPreconditionError, match="written by a newer Edgewise"):
        Store(database_url)


def test_a_step_that_fails_leaves_nothing(database_url, monkeypatch):
    from edgewise.hub.store import store as module

    def half(connection):
        from edgewise.hub.store.migration import migrate

        migrate(connection)
        raise InvalidArgumentError("killed")

    monkeypatch.setattr(module, "migrate", half)
    with pytest.raises(InvalidArgumentError):
        Store(database_url)
    monkeypatch.undo()
    store = Store(database_url)
    with store.transaction() as connection:
        assert connection.execute(select(METADATA.tables["hub"].c.epoch)).scalar_one() == 1
    store.close()


def test_a_file_of_sqlite_lasts_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "hub.db"
    store = Store(f"sqlite:///{path}")
    with store.transaction() as connection:
        insert_deeds(connection, [deed("x")])
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    # Others may read it meanwhile, such as a backup.
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM audit").fetchone() == (1,)
    reader.close()
    store.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "the database's URL is none; expected sqlite:///FILE or postgresql://"),
        ("hub.db", "the database's URL is none"),
        ("sqlite://", "expected sqlite:///FILE"),
        ("sqlite:///:memory:", "expected sqlite:///FILE"),
        ("mysql://root:secret@db/hub", "the database's URL begins with 'mysql'"),
    ],
)
def test_a_url_of_no_database_is_refused_and_shows_no_password(url, says):
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        Store(url)
    assert "secret" not in caught.value.message


def test_a_database_that_cannot_be_opened_is_said_so(tmp_path):
    with pytest.raises(UnavailableError, match="cannot be opened: No such file"):
        Store(f"sqlite:///{tmp_path}/none/hub.db")
    with pytest.raises(UnavailableError, match="cannot be asked now") as caught:
        Store(f"postgresql://user:secret@/hub?host={tmp_path}")
    assert "secret" not in caught.value.message
    (tmp_path / "no.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(UnavailableError, match="cannot be asked now"):
        Store(f"sqlite:///{tmp_path}/no.db")


def test_no_secret_is_in_the_database(tmp_path):
    from edgewise.hub.control.actors import Actor, Role
    from edgewise.hub.control.plane import ControlPlane
    from edgewise.trust.keys import SigningKey

    plane = ControlPlane(Store(f"sqlite:///{tmp_path}/hub.db"), SigningKey.generated())
    token = plane.create_token("ci", Role.ADMIN, actor=Actor("test"))
    invitation = plane.create_enrollment("alpha", "edge", {}, actor=Actor("test"))
    _, site_token = plane.enroll(invitation, SigningKey.generated().public_hex, "edge", {})
    plane.close()
    content = b"".join(file.read_bytes() for file in Path(tmp_path).iterdir())
    assert b"alpha" in content
    for secret in (token, invitation, site_token):
        assert secret[4:].encode() not in content
