"""What an agent follows and what it does not: on virtual time, with everything real that it writes."""

import contextlib
import os
import time
from dataclasses import replace

import pytest

from edgewise.agent.site.journal import Journal
from edgewise.agent.site.port import Comparison, Examiner
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import EdgewiseError, UnavailableError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import AccuracyGate, Gate, Gates
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Canary
from edgewise.protocols.trusted_documents import encode_policy
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import POLICY
from support.played_site import FILES, MODEL, Life, Scene
from support.site_hub import QUICK

YEAR_S = 365.25 * 86400.0


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_a_forged_desired_state_is_not_followed(scene):
    scene.hub.want(scene.order, key=SigningKey.generated())
    life = Life(scene)
    life.turns()
    assert "not signed by a key that may sign it" in life.problems[0]
    assert life.serves(1)
    assert life.state() is None


def test_the_desired_state_of_another_site_is_not_followed(scene):
    scene.hub.want(scene.order, named="edge-2")
    life = Life(scene)
    life.turns()
    assert "'edge-2'" in life.problems[0]
    assert life.serves(1)


def test_an_older_generation_is_not_followed(scene):
    scene.is_updated()
    scene.hub.want(replace(scene.order, want=Want.BACK), generation=1)
    life = Life(scene)
    life.turns()
    assert "rollback" in life.problems[0]
    assert life.serves(2)
    # Neither by another agent that begins with what is on the disk.
    life = Life(scene)
    life.turns()
    assert life.serves(2)


def test_a_version_below_the_floor_is_refused_and_nothing_of_it_is_fetched(scene):
    scene.hub.sign({POLICY: encode_policy({MODEL: 3})})
    scene.hub.want(scene.order)
    life = Life(scene)
    life.until_state(SiteState.FAILED)
    assert "the signed policy names 3 as the lowest" in life.progress().why
    assert life.serves(1)
    assert scene.hub.sent_bytes == 0
    scene.hub.sign({POLICY: encode_policy({MODEL: 2})})
    scene.hub.want(scene.order)
    life.until(lambda life: life.serves(2))


def test_a_site_does_not_go_back_below_the_floor(scene):
    scene.is_updated()
    scene.hub.sign({POLICY: encode_policy({MODEL: 2})})
    scene.hub.want(replace(scene.order, want=Want.BACK))
    life = Life(scene)
    life.turns()
    assert life.serves(2)
    assert life.state() == SiteState.ACTIVE


class NeverDone(Examiner):
    """Compares for as long as it may."""

    def __init__(self):
        self.underway = set()

    def look(self, rollout, model):
        return Comparison()

    def compare(self, rollout, model, old, new):
        self.underway.add((rollout, model))

    def end(self, rollout, model):
        self.underway.discard((rollout, model))


@pytest.mark.parametrize("seen", [True, False])
def test_a_comparison_of_held_out_examples_ends_with_the_rollback(scene, seen):
    order = replace(scene.order, gates=Gates(errors=None, latency=None, golden=False, accuracy=AccuracyGate(0.15)))
    scene.hub.want(order)
    examiner = NeverDone()
    life = Life(scene, examiner=examiner)
    life.until(lambda _life: examiner.underway)
    life.turns(3)
    assert examiner.underway == {(order.rollout, MODEL)}
    scene.hub.want(replace(order, want=Want.BACK))
    status = life.played.status
    if not seen:
        life.played.status = away
    life.turn()
    assert not examiner.underway
    life.played.status = status
    life.until_state(SiteState.ROLLED_BACK)
    assert life.serves(1)


def away(_model):
    raise UnavailableError("the model server does not answer")


def test_an_expired_desired_state_begins_nothing_and_takes_back_all(scene):
    scene.hub.want(scene.order, expires_s=-1.0)
    life = Life(scene)
    life.turns()
    assert life.serves(1)
    assert "has expired" in life.progress().why
    assert scene.hub.sent_bytes == 0
    scene.hub.want(scene.order)
    life.until(lambda life: life.serves(2))
    scene.hub.want(replace(scene.order, want=Want.BACK), expires_s=-1.0)
    life.until(lambda life: life.state() == SiteState.ROLLED_BACK and life.serves(1))


def test_two_years_later_nothing_is_installed_and_what_runs_goes_on_and_may_go_back(scene):
    scene.hub.want(scene.order, expires_s=9 * YEAR_S)
    scene.hub.away = True
    later = Life(scene, lambda: time.time() + 2 * YEAR_S)
    scene.hub.away = False
    later.turns()
    assert later.serves(1)
    life = Life(scene)
    life.until(lambda life: life.serves(2))
    scene.hub.want(replace(scene.order, want=Want.BACK), expires_s=9 * YEAR_S)
    Life(scene).turns(1)
    later = Life(scene, lambda: time.time() + 2 * YEAR_S)
    later.until(lambda life: life.state() == SiteState.ROLLED_BACK and life.serves(1))


def test_fifty_years_earlier_nothing_is_installed(scene):
    scene.hub.want(scene.order)
    life = Life(scene, lambda: time.time() - 50 * YEAR_S)
    life.turns()
    assert life.serves(1)
    assert "clock" in life.progress().why
    assert scene.hub.sent_bytes == 0


def test_a_gate_that_fails_takes_it_back_without_a_hub(tmp_path):
    scene = Scene(tmp_path, errors=0.9)
    scene.hub.want(replace(scene.order, canary=replace(QUICK, stage_s=1e6)))
    life = Life(scene)
    life.until_state(SiteState.VERIFYING)
    scene.hub.away = True
    life = Life(scene)
    life.until(lambda life: life.state() == SiteState.ROLLED_BACK and life.serves(1))
    assert life.progress().why == "gate failed: errors"
    # It stays so, whatever it was told.
    scene.hub.away = False
    life.turns()
    assert life.serves(1)


def test_a_tampered_version_is_thrown_away_before_it_is_loaded_and_fetched_anew(scene, caplog):
    scene.hub.want(replace(scene.order, want=Want.STAGE))
    life = Life(scene)
    life.until_state(SiteState.STAGED)
    path = scene.now / "agent" / "models" / MODEL / "2" / "model.onnx"
    path.chmod(0o644)
    path.write_bytes(bytes(len(FILES[2]["model.onnx"])))
    sent = scene.hub.sent_bytes
    scene.hub.want(scene.order)
    seen = []

    def done(life):
        seen.append(life.state())
        return life.serves(2)

    # Who plays the model server would not stand a version that is not what it should be.
    for _ in range(20):
        life.listening.once()
        life.listening.say()
        life.acting.round()
        life.staging.work()
        seen.append(life.state())
        if SiteState.DOWNLOADING in seen:
            break
    life.until(done)
    assert "model.onnx was changed" in caplog.text
    assert scene.hub.sent_bytes > sent


def damaged(path, how):
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(
        {"empty": b"", "half": content[: len(content) // 2], "noise": bytes(range(256)), "other": b'{"format": "x"}'}[
            how
        ]
    )


@pytest.mark.parametrize("how", ["empty", "half", "noise", "other"])
@pytest.mark.parametrize(
    "name", ["journal", "models.config", "canaries.json", "desired.json", "sequence", "quota.json", ".2.release", "tuf"]
)
def test_a_damaged_file_of_the_agent_ends_nothing(scene, name, how):
    scene.hub.want(replace(scene.order, canary=replace(QUICK, stage_s=1e6)))
    life = Life(scene)
    life.until_state(SiteState.VERIFYING)
    state = scene.now / "agent"
    path = {
        "journal": next((state / "journal").iterdir()),
        ".2.release": state / "models" / MODEL / ".2.release",
        "tuf": state / "tuf" / "trusted.json",
    }.get(name, state / name)
    damaged(path, how)
    # What follows it is not moved: a model server takes only what it can read.
    if name in {"models.config", "canaries.json"}:
        life = Life(scene)
    scene.hub.want(scene.order)
    life = Life(scene)
    life.until(lambda life: life.state() == SiteState.ACTIVE and life.serves(2))


def test_a_damaged_record_is_told_aloud_and_kept_for_people(scene, caplog):
    scene.is_updated()
    path = next((scene.now / "agent" / "journal").iterdir())
    path.write_bytes(b"{")
    Journal(StateDirectory(scene.now / "agent"))
    assert "set aside" in caplog.text
    assert path.with_name(f"{path.name}.damaged").exists()
    # The version answers, so the rollout is where it was.
    life = Life(scene)
    life.until_state(SiteState.ACTIVE)
    assert life.serves(2)


def test_another_rollout_waits_until_the_one_before_has_gone_back(scene):
    scene.hub.want(replace(scene.order, canary=replace(QUICK, stage_s=1e6)))
    life = Life(scene)
    life.until_state(SiteState.VERIFYING)
    other = replace(scene.order, rollout="pets-2-again")
    scene.hub.want(other)
    states = []

    def done(life):
        states.extend((one.rollout, one.state) for one in life.board.shown().progress)
        return life.state(other.rollout) == SiteState.ACTIVE

    life.until(done)
    first = next(place for place, (rollout, _) in enumerate(states) if rollout == other.rollout)
    assert first > 0
    assert (scene.order.rollout, SiteState.VERIFYING) not in states[first:]
    assert len(list((scene.now / "agent" / "journal").glob("*.json"))) == 1


def test_a_release_that_runs_already_switches_nothing(scene):
    scene.is_updated()
    life = Life(scene)
    sent = scene.hub.sent_bytes
    again = replace(scene.order, rollout="pets-2-again")
    scene.hub.want(again)
    life.until(lambda life: life.state(again.rollout) == SiteState.ACTIVE)
    scene.hub.want(replace(again, want=Want.BACK))
    life.until(lambda life: life.state(again.rollout) == SiteState.ROLLED_BACK)
    # It ran before that rollout, so it is what that rollout goes back to.
    assert life.serves(2)
    assert scene.hub.sent_bytes == sent


def test_told_back_before_anything_began_it_is_back(scene):
    scene.hub.want(replace(scene.order, want=Want.BACK))
    life = Life(scene)
    life.until_state(SiteState.ROLLED_BACK)
    assert life.serves(1)
    assert scene.hub.sent_bytes == 0


def test_counts_outlive_the_agent(scene):
    gates = Gates(errors=Gate(0.0001), latency=None)
    scene.hub.want(replace(scene.order, gates=gates, canary=replace(QUICK, stage_s=1e6)))
    life = Life(scene)
    life.until_state(SiteState.VERIFYING)
    life.turns(30)
    (before,) = life.progress().findings.sampled["errors"]
    life = Life(scene)
    life.turns(3)
    (after,) = life.progress().findings.sampled["errors"]
    assert after.new_count > before.new_count
    assert after.share == QUICK.shares[0]


def test_old_versions_go_once_a_new_one_is_proven(scene, tmp_path, monkeypatch):
    scene.is_updated()
    monkeypatch.setitem(FILES, 3, {"model.onnx": b"three" * 1000})
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "model.onnx").write_bytes(FILES[3]["model.onnx"])
    scene.hub.release(MODEL, 3, tmp_path / "third")
    scene.hub.want(scene.hub.order(version=3, gates=Gates(None, None, None), canary=Canary(shares=(), bake_s=0.0)))
    life = Life(scene)
    life.until(lambda life: life.serves(3))
    life.turns(5)
    versions = sorted(path.name for path in (scene.now / "agent" / "models" / MODEL).iterdir() if path.name.isdigit())
    assert versions == ["2", "3"]


@pytest.mark.parametrize("room_kb", [0, 4, 8, 16, 40])
def test_a_disk_that_is_full_while_it_activates_stops_nothing_for_good(tmp_path, small_disk, room_kb):
    scene = Scene(tmp_path, now=small_disk)
    scene.hub.want(replace(scene.order, want=Want.STAGE))
    life = Life(scene)
    life.until_state(SiteState.STAGED)
    filler = small_disk / "filler"
    status = os.statvfs(small_disk)
    filler.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - room_kb * 1024)))
    scene.hub.want(scene.order)
    with contextlib.suppress(EdgewiseError):
        life = Life(scene)
    life.turns(40)
    # Whatever was reached, a version answers, and what the others follow can be read.
    assert {1, 2} & life.played.status(MODEL).loaded
    filler.unlink()
    life = Life(scene)
    life.until(lambda life: life.state() == SiteState.ACTIVE and life.serves(2))


def test_on_a_full_disk_it_goes_back_all_the_same(tmp_path, small_disk):
    scene = Scene(tmp_path, now=small_disk, errors=0.0)
    state = StateDirectory(small_disk / "agent")
    state.take_ballast()
    scene.hub.want(replace(scene.order, canary=replace(QUICK, stage_s=1e6)))
    life = Life(scene)
    life.until_state(SiteState.VERIFYING)
    status = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize))
    life.played.errors = 0.9
    life.until(lambda life: life.state() == SiteState.ROLLED_BACK and life.serves(1))
