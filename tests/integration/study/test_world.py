"""Real sites, links and a gateway, started and stopped as a study does it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from edgewise.core.errors import CancelledError, InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.study.parts import Part, ask, fetch, launch_words
from edgewise.study.results import NetworkProfile
from edgewise.study.scenario import GatewaySpec, Inputs, ModelSpec, RunSettings, Scenario, SiteSpec, Sweep
from edgewise.study.world import World


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def scenario(**words):
    sweep = {
        "targets": ("cloud", "edge", "gateway"),
        "profiles": ("fibre",),
        "models": ("tiny",),
        "protocols": ("rest-json", "oip-grpc"),
        "loads": (10.0,),
        "batching": {},
        **words.pop("sweep", {}),
    }
    return Scenario(
        title="a world",
        seed=3,
        text="",
        run=RunSettings(),
        models=(ModelSpec("tiny", "tiny", "tiny"),),
        sites=words.pop("sites", (SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge"))),
        gateway=words.pop("gateway", GatewaySpec()),
        inputs=Inputs(Path()),
        sweep=Sweep(**sweep),
        **words,
    )


@pytest.fixture(scope="module")
def world(cache, tmp_path_factory):
    with World(scenario(), tmp_path_factory.mktemp("study"), cache=cache) as made:
        made.prepare("tiny")
        made.serve("tiny")
        yield made


def predict(address, headers=()):
    return ask(address, "POST", "/v1/models/tiny:predict", {"instances": [[0.0] * 8]})


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_every_target_answers_where_it_is_said_to_be(world):
    world.set_profile("fibre")
    world.fresh_gateway()
    addresses = {target: world.address(target, "http") for target in ("cloud", "edge", "gateway")}
    assert len(set(addresses.values())) == 3
    for address in addresses.values():
        assert len(predict(address)["predictions"]) == 1
    assert set(world.pids) == {"cloud", "edge", "link-cloud-http", "link-cloud-grpc", "gateway"}
    assert world.serving == ("tiny", "")
    for target in addresses:
        world.check_reachable(target, "grpc")
        assert b"tiny" in world.describe(target)
    world.check()
    assert world.settle()


def test_the_cloud_is_asked_through_links_that_know_the_network(world):
    world.set_profile("3g")
    control = [part.ports["control"] for part in world._links.values()]
    assert len(control) == 2
    for port in control:
        state = ask(("127.0.0.1", port), "GET", "/state")
        assert state["profile"] == "3g"
        assert state["seed"] == 3
    world.set_profile("")
    assert all(ask(("127.0.0.1", port), "GET", "/state")["profile"] == "none" for port in control)


def test_an_outage_begins_and_ends_and_a_new_network_ends_it_too(world):
    def fault():
        return [ask(("127.0.0.1", part.ports["control"]), "GET", "/state")["fault"] for part in world._links.values()]

    world.begin_outage()
    assert all(found["fault"] == "blackhole" for found in fault())
    world.end_outage()
    assert fault() == [None, None]
    world.begin_outage()
    world.set_profile("fibre")
    assert fault() == [None, None]


def test_the_gateway_is_the_same_until_its_network_changes(world):
    world.set_profile("fibre")
    world.fresh_gateway()
    before = world.pids["gateway"]
    assert not world.fresh_gateway()
    assert world.pids["gateway"] == before
    assert world.fresh_gateway(always=True)
    assert world.pids["gateway"] != before
    assert not alive(before)
    world.set_profile("4g")
    assert world.fresh_gateway()


def test_words_that_no_link_knows_are_refused_in_its_words(world):
    with pytest.raises(InvalidArgumentError, match="unknown key 'falt'"):
        world.tell_links({"falt": "blackhole"})


def test_what_is_not_there_is_named(world):
    with pytest.raises(NotFoundError, match="no target 'moon'; the scenario has cloud, edge, gateway"):
        world.address("moon", "http")
    with pytest.raises(NotFoundError, match="no model 'huge'"):
        world.serve("huge")


def test_other_batching_is_served_from_processes_of_their_own(cache, tmp_path):
    asked = scenario(
        sites=(SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge", instances=2, cpus=(0,))),
        sweep={
            "targets": ("edge",),
            "protocols": ("rest-json",),
            "batching": {"one": {"max_batch_size": 1}, "many": {"max_batch_size": 16, "max_delay_ms": 2}},
        },
    )
    with World(asked, tmp_path, cache=cache) as made:
        seen = {}
        for batching in ("one", "many"):
            made.serve("tiny", batching)
            assert made.serving == ("tiny", batching)
            assert set(made.pids) == {"edge"}
            pid = made.pids["edge"]
            assert os.sched_getaffinity(pid) == {0}
            seen[batching] = (pid, made.batches("edge"))
            predict(made.address("edge", "http"))
        assert seen["one"][0] != seen["many"][0]
        assert (seen["one"][1], seen["many"][1]) == ((2, 1), (2, 16))
        assert not alive(seen["one"][0])
        with pytest.raises(NotFoundError):
            made.address("cloud", "http")
    assert not alive(seen["many"][0])
    assert (tmp_path / "logs" / "edge.log").exists()
    assert not (tmp_path / "world").exists()


def test_a_part_that_dies_is_told_with_the_end_of_its_log(cache, tmp_path, until):
    with World(scenario(sweep={"targets": ("edge",), "protocols": ("rest-json",)}), tmp_path, cache=cache) as made:
        made.serve("tiny")
        pid = made.pids["edge"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: made.serving == ("", ""))
        with pytest.raises(
            UnavailableError, match=r"(?s)edge has ended with SIGKILL; the end of its log, .*\n    edgewise: ready"
        ):
            made.check()
        made.serve("tiny")
        made.check()
        assert predict(made.address("edge", "http"))


def test_a_part_that_cannot_start_is_told_with_its_reason(cache, tmp_path):
    asked = scenario(sweep={"targets": ("edge",), "batching": {"bad": {"max_batch_size": -5}}})
    with World(asked, tmp_path, cache=cache) as made:
        with pytest.raises(
            UnavailableError, match="edge cannot serve its model: tiny/1/model.toml: batching.max_batch_size: found -5"
        ):
            made.serve("tiny", "bad")
        assert made.pids == {}


def test_waiting_ends_when_the_study_is_stopped(tmp_path, cache):
    stop = threading.Event()
    stop.set()
    with World(scenario(), tmp_path, cache=cache, stop=stop) as made:
        with pytest.raises(CancelledError):
            made.serve("tiny")
        assert made.pids == {}


def test_servers_that_are_there_are_asked_and_not_touched(start_server, tiny_repository, tmp_path, cache):
    server = start_server("--repository", str(tiny_repository))
    sites = (
        SiteSpec("cloud", "cloud", url=server.rest_url, grpc=server.grpc_target),
        SiteSpec("edge", "edge", url=server.rest_url, grpc=server.grpc_target),
    )
    with World(scenario(sites=sites), tmp_path, cache=cache) as made:
        made.serve("tiny")
        assert set(made.pids) == {"link-cloud-http", "link-cloud-grpc"}
        assert made.address("edge", "grpc") == ("127.0.0.1", server.grpc_port)
        assert made.address("cloud", "http") != ("127.0.0.1", server.rest_port)
        for target in ("cloud", "edge", "gateway"):
            assert predict(made.address(target, "http"))
            made.check_reachable(target, "http")
    assert server.process.poll() is None


def test_a_server_that_is_not_there_is_told_though_a_link_is_in_front(tmp_path, cache):
    sites = (SiteSpec("cloud", "cloud", url="http://127.0.0.1:9"), SiteSpec("edge", "edge", url="http://127.0.0.1:9"))
    asked = scenario(sites=sites, sweep={"targets": ("cloud", "edge"), "protocols": ("rest-json",)})
    with World(asked, tmp_path, cache=cache) as made:
        made.serve("tiny")
        for target in ("cloud", "edge"):
            with pytest.raises(
                UnavailableError, match=rf"nobody listens at 127.0.0.1:9 \({target}, http\): Connection refused"
            ):
                made.check_reachable(target, "http")


def test_a_network_of_the_scenario_is_made(cache, tmp_path):
    asked = scenario(
        sweep={"targets": ("cloud",), "profiles": ("mine",), "protocols": ("rest-json",)},
        profiles={"mine": NetworkProfile("mine", 34.0, up_kbit_s=500.0)},
    )
    with World(asked, tmp_path, cache=cache) as made:
        made.serve("tiny")
        made.set_profile("mine")
        (part,) = made._links.values()
        told = ask(("127.0.0.1", part.ports["control"]), "GET", "/state")["conditions"]
        assert (told["delay_up_ms"], told["delay_down_ms"], told["up_kbit_s"], told["down_kbit_s"]) == (
            17,
            17,
            500,
            None,
        )


def test_what_a_killed_study_started_ends_with_it(tmp_path, until):
    script = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from edgewise.study.parts import Part
        part = Part("link", ["link", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9", "--control", "none"], Path({str(tmp_path)!r}) / "log")
        part.wait_ready()
        print(part.pid, flush=True)
        time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as study:
        pid = int(study.stdout.readline())
        assert alive(pid)
        study.kill()
        study.wait()
        until(lambda: not alive(pid))


def test_a_process_that_does_not_become_ready_is_given_up(tmp_path):
    words = ["link", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9", "--control", "none"]
    part = Part("slow", words, tmp_path / "log")
    try:
        with pytest.raises(UnavailableError, match="slow was not ready within 0 s"):
            part.wait_ready(timeout_s=0.0)
    finally:
        part.kill()
    assert not part.running


def test_a_process_that_ignores_sigterm_is_killed(tmp_path, until):
    part = Part("deaf", ["--version"], tmp_path / "log")
    part.kill()
    deaf = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    with (tmp_path / "deaf.log").open("wb") as sink:
        part._process = subprocess.Popen(launch_words([sys.executable, "-c", deaf]), stdout=sink)
    until(lambda: (tmp_path / "deaf.log").read_bytes() == b"deaf\n")
    part.stop(timeout_s=0.2)
    assert part._process.returncode == -signal.SIGKILL


def test_nobody_answering_is_said_in_one_line():
    with pytest.raises(UnavailableError, match="no answer from http://127.0.0.1:9/state: Connection refused"):
        fetch(("127.0.0.1", 9), "GET", "/state")
