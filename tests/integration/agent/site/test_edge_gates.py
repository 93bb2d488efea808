"""A release that answers wrongly, or slowly, is taken back by the site alone; and what the agent does when it is told to end."""

import signal
import time
from dataclasses import replace

import pytest

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Gate, Gates, LatencyGate
from edgewise.core.rollout.site_plan import shares
from edgewise.core.rollout.site_state import SiteState
from edgewise.model_server.building import tiny
from support.failing_versions import make_it_fail, make_it_slow
from support.site_hub import QUICK
from support.waiting import wait_for

LONG = replace(QUICK, shares=(0.2, 0.5), stage_s=3600.0, bake_s=3600.0)


@pytest.fixture
def serving(node, tmp_path):
    tiny.build(tmp_path / "before", version=1)
    node.enroll()
    return node


def start(node, tmp_path, *words, gateway=True):
    node.start_servers(gateway=gateway)
    node.start_agent("--adopt", str(tmp_path / "before"), "--poll-s", "5", *words)
    wait_for(lambda: node.version() == 1)


def went_back(node):
    """Whether the old version is all that is left."""
    config = (node.state / "models.config").read_text()
    return "versions: 2" not in config and "versions: 1" in config


def test_errors_are_noticed_and_the_old_version_answers_within_seconds_without_a_hub(
    serving, hub, load, build_tiny, tmp_path
):
    bad = build_tiny(2)
    make_it_fail(bad)
    hub.release("tiny", 2, bad)
    start(serving, tmp_path)
    order = hub.order(model="tiny", gates=Gates(errors=Gate(0.05, 0.95), latency=None), canary=LONG)
    with load(serving.ask, rate_hz=200.0) as asked:
        hub.want(order)
        hub.wait_for_state(SiteState.VERIFYING)
        hub.away = True
        wait_for(lambda: went_back(serving))
        seen = len(asked.answers)
        wait_for(lambda: len(asked.answers) > seen + 100)
    # From then on nothing failed any more.
    assert {(status, version) for _, status, version in asked.answers[seen + 10 :]} == {(200, 1)}
    failed = asked.failed()
    assert failed
    took_s = failed[-1][0] - failed[0][0]
    print(f"{len(failed)} requests failed within {took_s:.2f} s")
    hub.away = False
    back = hub.wait_for_state(SiteState.ROLLED_BACK)
    assert "errors" in back.why


def test_a_slow_version_goes_back(serving, hub, load, build_tiny, tmp_path):
    # So slow that it shows beside whatever else a busy machine makes slow.
    slow = build_tiny(2)
    make_it_slow(slow, turns=160)
    hub.release("tiny", 2, slow)
    start(serving, tmp_path)
    gates = Gates(errors=None, latency=LatencyGate(margin=0.2, confidence=0.9, ratio=2.0))
    with load(serving.ask, rate_hz=50.0):
        hub.want(hub.order(model="tiny", gates=gates, canary=LONG))
        back = hub.wait_for_state(SiteState.ROLLED_BACK, timeout_s=90)
    assert "latency" in back.why
    assert serving.version() == 1


def test_answers_that_disagree_in_the_shadow_never_reach_an_app(serving, hub, load, build_tiny, tmp_path):
    hub.release("tiny", 2, build_tiny(2, bias=-50.0, scale=0.0))
    tiny.build(tmp_path / "before", version=1, bias=50.0, scale=0.0, force=True)
    start(serving, tmp_path)
    canary = replace(LONG, shadow_share=1.0, shadow_s=3600.0)
    gates = Gates(errors=None, latency=None, disagreement=Gate(0.2, 0.9))
    with load(serving.ask, rate_hz=50.0) as asked:
        hub.want(hub.order(model="tiny", gates=gates, canary=canary))
        back = hub.wait_for_state(SiteState.ROLLED_BACK)
    assert "disagreement" in back.why
    assert not asked.failed()
    assert {version for _, _, version in asked.answers} == {1}


def test_thin_data_waits_and_is_told_so(serving, hub, load, build_tiny, tmp_path):
    hub.release("tiny", 2, build_tiny(2))
    start(serving, tmp_path)
    order = hub.order(model="tiny", gates=Gates(errors=Gate(0.01), latency=None), canary=QUICK)
    hub.want(order)
    hub.wait_for(lambda report: any(one.waiting for one in report.rollouts))
    assert hub.progress().state == SiteState.VERIFYING
    hub.want(replace(order, want=Want.GRANTED))
    hub.wait_for_state(SiteState.ACTIVE)
    wait_for(lambda: serving.version() == 2)


def test_without_a_gateway_it_takes_over_at_once_and_is_observed(serving, hub, load, build_tiny, tmp_path):
    bad = build_tiny(2)
    make_it_fail(bad)
    hub.release("tiny", 2, bad)
    hub.release("tiny", 3, build_tiny(3, bias=1.0))
    start(serving, tmp_path, gateway=False)
    gates = Gates(errors=Gate(0.2, 0.9), latency=None)
    with load(serving.ask, rate_hz=100.0) as asked:
        hub.want(hub.order(model="tiny", gates=gates, canary=replace(QUICK, bake_s=3600.0)))
        hub.wait_for_state(SiteState.ROLLED_BACK, "tiny-2-k3f9")
        assert asked.failed()
        failed = len(asked.failed())
        hub.want(hub.order(model="tiny", version=3, gates=gates))
        hub.wait_for_state(SiteState.ACTIVE, "tiny-3-k3f9")
        wait_for(lambda: serving.version() == 3)
        assert len(asked.failed()) == failed
    # By the order's counting it is at all requests, and never was at a share of them.
    told = [one.stage for report in hub.reports() for one in report.rollouts if one.rollout == "tiny-3-k3f9"]
    assert set(told) == {0, len(shares(QUICK)) - 1}


def test_sigterm_ends_it_within_a_second_in_a_poll_and_in_a_download(serving, hub, build_tiny, tmp_path):
    big = build_tiny(2)
    (big / "weights.bin").write_bytes(bytes(range(256)) * 4096)
    hub.release("tiny", 2, big)
    start(serving, tmp_path, "--poll-s", "60", "--rate", "20kB/s")
    wait_for(lambda: any("desired" in path for path in hub.asked))
    began_s = time.monotonic()
    assert serving.agent.stop(signal.SIGTERM) == 0
    poll_s = time.monotonic() - began_s
    serving.start_agent("--rate", "20kB/s")
    hub.want(hub.order(model="tiny"))
    wait_for(lambda: hub.sent_bytes > 20_000)
    began_s = time.monotonic()
    assert serving.agent.stop(signal.SIGTERM) == 0
    print(f"ended {poll_s:.2f} s and {time.monotonic() - began_s:.2f} s after SIGTERM")
    assert serving.version() == 1
    serving.start_agent()
    hub.wait_for_state(SiteState.VERIFYING)
