"""What model server and gateway follow, the journal, and writing on a full disk."""

import errno
import json
import os

import pytest

from edgewise.agent.site.canary_file import CanaryFile
from edgewise.agent.site.journal import Entry, Journal
from edgewise.agent.site.models_config import ModelsConfig, Wanted
from edgewise.agent.site.port import Division
from edgewise.agent.site.reporting import Sequence
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.site.tally import Tally
from edgewise.core.errors import FailedPreconditionError, ResourceExhaustedError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.orders import Order
from edgewise.core.rollout.site_plan import Record
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.versions import Specific
from edgewise.protocols.canaries import decode_canaries
from edgewise.protocols.server_config import parse_model_server_config

HALF = Division(1, 2, 0.5, 0.1, "r/1.0", 12.5)


@pytest.fixture
def state(tmp_path):
    return StateDirectory(tmp_path / "agent")


def test_the_model_server_reads_what_is_written(state):
    config = ModelsConfig(state, {})
    assert config.set("pets", Wanted(frozenset({2, 1}), 1))
    assert not config.set("pets", Wanted(frozenset({1, 2}), 1))
    (model,) = parse_model_server_config(state.models_config.read_text(), "it").models
    assert model.policy == Specific((1, 2))
    assert model.labels == {"default": 1}
    assert model.base_path == str(state.models / "pets")
    assert ModelsConfig(state, {}).get("pets") == Wanted(frozenset({1, 2}), 1)
    config.set("pets", None)
    assert parse_model_server_config(state.models_config.read_text(), "it").models == ()
    # No models are no damage.
    assert list(ModelsConfig(state, {"pets": Wanted(frozenset({1}))}).models()) == []


@pytest.mark.parametrize(
    "damage", [b"", b"model_config_list {", b"\xff\xfe", b'model_config_list { config { name: "x" } }']
)
def test_a_damaged_config_is_made_anew_from_what_is_known(state, damage, caplog):
    state.models_config.write_bytes(damage)
    known = {"pets": Wanted(frozenset({1}))}
    assert ModelsConfig(state, known).get("pets") == known["pets"]
    assert "set aside" in caplog.text
    assert state.models_config.with_name("models.config.damaged").read_bytes() == damage


def test_the_gateway_reads_what_is_written_and_each_change_has_a_number(state):
    canaries = CanaryFile(state, "edge")
    first = canaries.generation
    assert canaries.set("pets", HALF)
    assert not canaries.set("pets", HALF)
    assert canaries.generation == first + 1
    settings = decode_canaries(state.canaries.read_bytes())
    assert (settings.generation, settings.canaries[0].site, settings.canaries[0].share) == (first + 1, "edge", 0.5)
    again = CanaryFile(state, "edge")
    assert (again.get("pets"), again.generation) == (HALF, first + 1)
    again.set("pets", None)
    assert decode_canaries(state.canaries.read_bytes()).canaries == ()


def test_a_division_of_another_site_is_taken_out(state):
    CanaryFile(state, "old-name").set("pets", HALF)
    assert CanaryFile(state, "edge").get("pets") is None
    assert decode_canaries(state.canaries.read_bytes()).canaries == ()


def test_the_journal_keeps_what_was_written_and_forgets_what_is_over(state):
    entry = Entry(
        Order("r/ö .. ", "pets", 2, "a" * 64, Want.RUN),
        1,
        Record(SiteState.VERIFYING, 2, reverting=True, why="a gate"),
        Tally(epoch=3, slow_s=0.25),
    )
    journal = Journal(state)
    journal.write(entry)
    again = Journal(state)
    assert again.entries() == [entry]
    again.forget(entry.order.rollout)
    assert Journal(state).entries() == []


@pytest.mark.parametrize("key", ["format", "order", "previous", "record", "tally"])
def test_a_record_that_lacks_something_is_set_aside(state, key, caplog):
    journal = Journal(state)
    journal.write(Entry(Order("r", "pets", 2, "a" * 64, Want.RUN), 1))
    (path,) = state.journal.iterdir()
    value = json.loads(path.read_bytes())
    del value[key]
    path.write_text(json.dumps(value))
    assert Journal(state).entries() == []
    assert path.name in caplog.text
    assert [each.name for each in state.journal.iterdir()] == [f"{path.name}.damaged"]


def test_a_record_under_another_name_is_not_believed(state):
    Journal(state).write(Entry(Order("r", "pets", 2, "a" * 64, Want.RUN), 1))
    (path,) = state.journal.iterdir()
    path.rename(path.with_name("other.json"))
    assert Journal(state).entries() == []


def test_on_a_full_disk_the_room_that_was_kept_is_used_once(state, monkeypatch, caplog):
    state.take_ballast()
    ballast = state.root / ".ballast"
    assert ballast.stat().st_size == 1 << 20
    real = os.fsync

    def full(number):
        if ballast.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(os, "fsync", full)
    state.write(state.canaries, b"new")
    assert state.canaries.read_bytes() == b"new"
    assert "the room that was kept is used" in caplog.text


def test_a_disk_that_stays_full_is_told_and_what_was_there_stays(state, monkeypatch):
    state.write(state.canaries, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceExhaustedError, match="no room left"):
        state.write(state.canaries, b"new")
    assert state.canaries.read_bytes() == b"old"


def test_two_agents_do_not_work_in_one_directory(state):
    other = StateDirectory(state.root)
    with state.locked(), pytest.raises(FailedPreconditionError, match="another agent works in"), other.locked():
        pass
    with other.locked():
        pass


def test_numbers_of_reports_grow_over_restarts_and_when_their_file_is_lost(state):
    first = Sequence(state, lambda: 1000.0)
    numbers = [first.next() for _ in range(3)]
    assert numbers == [1001, 1002, 1003]
    again = Sequence(state, lambda: 1000.0)
    assert again.next() > numbers[-1]
    state.sequence.write_bytes(b"damaged")
    assert Sequence(state, lambda: 9_000_000.0).next() > 9_000_000
