"""`edgewise agent` as it is typed: wrong words, wrong states, wrong hubs."""

import os
import stat
from pathlib import Path

import pytest

from edgewise.agent.site.command import NICENESS
from support.site_hub import SiteHub
from support.sockets import dead_port


def test_a_site_is_enrolled_once_and_its_secrets_are_its_own(hub, tmp_path, edgewise):
    state = tmp_path / "agent"
    word = hub.enrollment()
    said = edgewise("agent", "enroll", word, "--state", str(state), "--label", "region=eu")
    assert said == f"edgewise: {state} is the site edge-1 of {hub.url}\n"
    for name in ("site.key", "site.token"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600
    assert (state / "models.config").exists()
    complaint = edgewise("agent", "enroll", word, "--state", str(state), code=1)
    assert "is a site's already" in complaint
    # Someone who copied the word comes too late.
    complaint = edgewise("agent", "enroll", word, "--state", str(tmp_path / "thief"), code=1)
    assert "refuses: the enrolment was used already" in complaint
    complaint = edgewise("agent", "status", "--state", str(tmp_path / "thief"), code=1)
    assert "is no site's; enrol it first" in complaint


def test_a_hub_that_is_not_the_one_of_the_enrolment_is_not_believed(hub, tmp_path, edgewise):
    word = hub.enrollment(root_sha256="b" * 64)
    complaint = edgewise("agent", "enroll", word, "--state", str(tmp_path / "agent"), code=1)
    assert "this is another hub, or someone stands between" in complaint
    complaint = edgewise("agent", "run", "--state", str(tmp_path / "agent"), code=1)
    assert "is no site's" in complaint


def test_a_hub_that_is_away_is_told(tmp_path, edgewise):
    hub = SiteHub(tmp_path / "gone")
    hub.close()
    with dead_port() as port:
        hub.url = f"http://127.0.0.1:{port}"
        complaint = edgewise("agent", "enroll", hub.enrollment(), "--state", str(tmp_path / "agent"), code=1)
    assert f"the hub at {hub.url} does not answer" in complaint


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["enroll", "no", "--state", "{}"], 1, 'expected the word that begins with "ew1."'),
        (["enroll", "ew1.x", "--state", "{}", "--label", "region"], 2, "expected NAME=VALUE"),
        (["run", "--state", "{}/none"], 1, "there is no directory"),
        (["run", "--state", "{}", "--rate", "2MB"], 2, "expected a rate such as 2MB/s"),
        (["run", "--state", "{}", "--quota", "much"], 2, "expected a size such as 500MB"),
        (
            ["run", "--state", "{}", "--model-server", "localhost"],
            1,
            "--model-server: found 'localhost', expected a URL",
        ),
        (["run", "--state", "{}", "--gateway", "http://x", "--no-gateway"], 2, "not allowed with argument"),
        (["run"], 2, "--state"),
        (["status", "--state", "{}/none"], 1, "there is no directory"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(words, code, says, tmp_path, edgewise):
    complaint = edgewise("agent", *(word.format(tmp_path) for word in words), code=code)
    assert says in complaint
    assert "Traceback" not in complaint


def test_two_agents_of_one_directory_do_not_run(node, edgewise, tmp_path):
    node.enroll()
    node.start_servers()
    node.start_agent()
    complaint = edgewise("agent", "run", "--state", str(node.state), code=1)
    assert "another agent works in" in complaint


def test_the_agent_lets_those_go_first_who_answer_requests(node):
    node.enroll()
    node.start_servers()
    node.start_agent()
    threads = Path(f"/proc/{node.agent.process.pid}/task").iterdir()
    priorities = {os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in threads}
    assert priorities == {NICENESS}


def test_status_tells_trust_orders_and_what_serves(hub, node, edgewise, build_tiny):
    node.enroll()
    assert "nothing yet" in edgewise("agent", "status", "--state", str(node.state))
    hub.release("tiny", 2, build_tiny(2))
    hub.want(hub.order(model="tiny"))
    node.start("--poll-s", "5")
    hub.wait_for_state("Verifying")
    said = edgewise("agent", "status", "--state", str(node.state))
    assert "root 1" in said
    assert "generation 1" in said
    assert "tiny: version 2 is to answer; to be loaded: 2\n" in said
    assert "tiny-2-k3f9: tiny/2 is Verifying, told run" in said
