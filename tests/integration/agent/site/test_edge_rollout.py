"""A whole edge node takes part in rollouts: real model server, real gateway, real agent, under load."""

from dataclasses import replace

import pytest

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import GateName, Gates, Golden
from edgewise.core.rollout.site_state import SiteState
from edgewise.model_server.building import tiny
from support.site_hub import ERRORS_ALONE, QUICK
from support.spoiled_versions import expect_another_answer
from support.waiting import wait_for


@pytest.fixture
def serving(node, hub, build_tiny, tmp_path):
    """A node that serves version 1 of `tiny`, and a hub that has version 2."""
    tiny.build(tmp_path / "before", version=1)
    node.enroll()
    node.start("--poll-s", "5", adopt=tmp_path / "before")
    wait_for(lambda: node.version() == 1)
    hub.release("tiny", 2, build_tiny(2, bias=1.0))
    return node


def test_a_release_takes_over_in_shares_and_no_request_fails(serving, hub, load):
    order = hub.order(model="tiny")
    with load(serving.ask) as asked:
        hub.want(order)
        active = hub.wait_for_state(SiteState.ACTIVE, timeout_s=60)
        wait_for(lambda: serving.version() == 2)
        report = hub.wait_for(lambda report: report.inventory.serving == {"tiny": 2}, timeout_s=30)
        wait_for(lambda: hub.reports()[-1].inventory.models == {"tiny": (2,)})
    assert not asked.failed()
    versions = [version for _, _, version in asked.answers]
    # Both answered while they were compared.
    assert {1, 2} == set(versions)
    assert versions[0] == 1
    compared = active.findings.sampled[GateName.ERRORS]
    assert sum(one.new_count for one in compared if hasattr(one, "new_count")) > 0
    assert active.findings.golden.complete == 1
    assert report.trusted["root"] == 1
    # The previous version stays on the disk for the way back.
    assert (serving.state / "models" / "tiny" / "1").is_dir()


def test_a_version_whose_golden_inputs_fail_never_answers_and_goes_back_by_itself(
    serving, hub, load, build_tiny, edgewise
):
    spoiled = build_tiny(3, bias=2.0)
    expect_another_answer(spoiled)
    hub.release("tiny", 3, spoiled)
    with load(serving.ask) as asked:
        hub.want(hub.order(model="tiny", version=3))
        back = hub.wait_for_state(SiteState.ROLLED_BACK)
    assert "golden" in back.why
    assert back.findings.golden == Golden(sites=1, complete=1, wrong=1)
    # Neither does the model server try it again when it is started anew.
    said = edgewise("agent", "status", "--state", str(serving.state))
    assert "tiny: version 1 is to answer; to be loaded: 1\n" in said
    assert not asked.failed()
    assert {version for _, _, version in asked.answers} == {1}


def test_undo_brings_the_previous_version_back(serving, hub, load):
    order = hub.order(model="tiny", gates=Gates(None, None, None), canary=replace(QUICK, stage_s=0.0, bake_s=0.0))
    with load(serving.ask) as asked:
        hub.want(order)
        hub.wait_for_state(SiteState.ACTIVE)
        wait_for(lambda: hub.reports()[-1].inventory.models == {"tiny": (2,)})
        hub.want(replace(order, want=Want.BACK))
        hub.wait_for_state(SiteState.ROLLED_BACK)
        wait_for(lambda: serving.version() == 1)
    assert not asked.failed()


def test_staged_is_staged_and_nothing_switches_before_it_is_told(serving, hub):
    hub.want(hub.order(Want.STAGE, model="tiny"))
    hub.wait_for_state(SiteState.STAGED)
    assert serving.version() == 1
    assert (serving.state / "models" / "tiny" / "2" / "model.onnx").is_file()


def test_it_goes_on_without_a_hub_and_after_the_agent_was_killed(serving, hub, load):
    order = hub.order(model="tiny", gates=ERRORS_ALONE, canary=replace(QUICK, stage_s=1.0))
    with load(serving.ask) as asked:
        hub.want(order)
        hub.wait_for_state(SiteState.VERIFYING)
        hub.away = True
        serving.agent.process.kill()
        serving.agent.process.wait()
        serving.start_agent("--poll-s", "5")
        wait_for(lambda: serving.version() == 2 and serving.version() == 2, timeout_s=60)
        wait_for(lambda: "versions: 1" not in (serving.state / "models.config").read_text(), timeout_s=60)
        hub.away = False
        hub.wait_for_state(SiteState.ACTIVE)
    assert not asked.failed()


def test_a_site_that_had_nothing_gets_its_first_version(node, hub, build_tiny):
    node.enroll()
    node.start("--poll-s", "5")
    hub.release("tiny", 2, build_tiny(2))
    hub.want(hub.order(model="tiny", gates=Gates(None, None, None), canary=QUICK))
    hub.wait_for_state(SiteState.ACTIVE)
    assert node.version() == 2


def test_a_new_rollout_takes_over_from_one_that_is_not_done(serving, hub, load, build_tiny):
    hub.release("tiny", 3, build_tiny(3, bias=2.0))
    with load(serving.ask) as asked:
        hub.want(hub.order(model="tiny", canary=replace(QUICK, stage_s=3600.0)))
        hub.wait_for_state(SiteState.VERIFYING)
        hub.want(hub.order(model="tiny", version=3))
        hub.wait_for_state(SiteState.ACTIVE, "tiny-3-k3f9", timeout_s=60)
        wait_for(lambda: serving.version() == 3)
    assert not asked.failed()
    # It was never proven, so nothing goes back to it.
    wait_for(lambda: not (serving.state / "models" / "tiny" / "2").exists())
