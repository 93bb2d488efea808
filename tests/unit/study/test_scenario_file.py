"""What a scenario's file says, and what it may not say."""

import os
from pathlib import Path

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import planning, scenario_file
from edgewise.study.results import NetworkProfile
from edgewise.study.runs_left import expected_s

PROFILES = {name: NetworkProfile(name, rtt_ms) for name, rtt_ms in (("none", 0), ("lan", 0), ("fibre", 4), ("4g", 40))}
SMALLEST = """
[sweep]
targets = ["cloud", "edge"]
models = ["pets"]
protocols = ["rest-image"]
loads = [10]
"""

TWO_OF_ONE_NAME = """
[site.s]
tier = "cloud"

[site.s_p]
tier = "edge"

[profile.p]
rtt_ms = 1
"""


def load(directory, text, name="study.toml"):
    path = directory / name
    path.write_text(text)
    return scenario_file.load(path, PROFILES)


def refusal(directory, text):
    with pytest.raises(InvalidArgumentError) as caught:
        load(directory, text)
    assert caught.value.message.startswith(f"{directory / 'study.toml'}: ")
    return caught.value.message.removeprefix(f"{directory / 'study.toml'}: ")


def with_sweep(more="", **values):
    """The smallest scenario with some keys of its sweep replaced, and tables behind it."""
    keys = {
        "targets": '["cloud", "edge"]',
        "models": '["pets"]',
        "protocols": '["rest-image"]',
        "loads": "[10]",
        **values,
    }
    return "[sweep]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) + more


def test_a_scenario_is_small_to_write(tmp_path, images):
    scenario = load(tmp_path, SMALLEST)
    assert scenario.title == "study"
    assert scenario.text == SMALLEST
    assert [site.name for site in scenario.sites] == ["cloud", "edge"]
    assert [site.tier for site in scenario.sites] == ["cloud", "edge"]
    assert scenario.gateway.route == "prefer-cloud"
    assert scenario.sweep.profiles == ("none",)
    assert scenario.inputs.images == images
    assert scenario.inputs.labels == images / "labels.csv"
    (pets,) = scenario.models
    assert (pets.kind, pets.served_as, pets.variants) == ("pets", "pets", {"cloud": "cloud", "edge": "edge"})
    assert scenario.calibrate
    assert scenario.mlperf is None


def test_everything_can_be_said(tmp_path, images):
    (tmp_path / "trace.csv").write_text("offset_s\n0\n0.5\n2\n")
    (tmp_path / "models" / "animals" / "1").mkdir(parents=True)
    (tmp_path / "labels.csv").write_text("file,label\ncat.jpg,cat\n")
    scenario = load(
        tmp_path,
        f"""
title = "Everything"
description = "all keys"
seed = 9
calibrate = false

[run]
duration_s = 7
warmup_s = 1
repeats = 4
timeout_s = 2.5
deadline_ms = 300
arrivals = "trace"
trace = "trace.csv"
shape = "ramp 0.5..1"
max_lag_p99_ms = 2
max_engine_share = 0.8
void_retries = 1

[model.animals]
directory = "models"
batching = {{ max_batch_size = 4, allowed_batch_sizes = [1, 4], max_delay_ms = 2.5, max_queue = 9, instances = 2 }}
config = "threads = 1"

[model.small]
kind = "zoo"
network = "squeezenet"

[model.exact]
kind = "pets"
variants = {{ edge = "edge-float32" }}

[site.cloud]
pooled = 3
instances = 2
threads = 2
cpus = [0]

[site.factory]
tier = "edge"
url = "http://127.0.0.1:9000/"
grpc = "127.0.0.1:9001"

[gateway]
route = "fastest"
config = "[routes.animals]\\nkind = 'cascade'"

[inputs]
images = "{images}"
labels = "labels.csv"
short_side_px = 128
jpeg_quality = 70
augment = 2
limit = 40

[profile.rtt-10ms]
rtt_ms = 10
up_kbit_s = 1000

[sweep]
targets = ["cloud", "factory", "gateway"]
profiles = ["4g", "rtt-10ms"]
models = ["animals", "small", "exact"]
protocols = ["rest-json", "tfs-grpc"]
loads = [1, 2.5]
without = [{{ model = "small", protocol = ["rest-json", "tfs-grpc"], target = "gateway" }}]

[[outage]]
name = "cut"
steps = "1s:blackhole, 3s:heal"

[prices]
per_gb = 0.01
factory_node_per_hour = 0.5

[mlperf]
scenarios = ["Server"]
target_latency_ms = 50
target_qps = 12
min_duration_s = 5
min_queries = 30
""",
    )
    assert (scenario.title, scenario.seed, scenario.calibrate) == ("Everything", 9, False)
    assert scenario.run.trace == tmp_path / "trace.csv"
    assert (scenario.run.duration_s, scenario.run.deadline_ms, scenario.run.arrivals) == (7.0, 300.0, "trace")
    animals, small, exact = scenario.models
    assert (animals.kind, animals.directory, animals.config) == ("repository", tmp_path / "models", "threads = 1")
    assert animals.batching["allowed_batch_sizes"] == [1, 4]
    assert (small.served_as, small.network) == ("squeezenet", "squeezenet")
    assert "[signatures.image.preprocess]" in small.config
    assert exact.variants == {"cloud": "cloud", "edge": "edge-float32", "factory": "edge"}
    cloud, _, factory = scenario.sites
    assert (cloud.pooled, cloud.instances, cloud.threads, cloud.cpus) == (3, 2, 2, (min(os.sched_getaffinity(0)),))
    assert (factory.url, factory.grpc) == ("http://127.0.0.1:9000", "127.0.0.1:9001")
    assert scenario.profiles["rtt-10ms"] == NetworkProfile("rtt-10ms", 10, 1000)
    assert len(scenario.sweep.without) == 2
    assert scenario.sweep.outages[0].name == "cut"
    assert planning.prices(scenario)["per_gb"] == 0.01
    assert planning.prices(scenario)["factory_node_per_hour"] == 0.5
    assert planning.prices(scenario)["factory_node_watts"] == planning.PRICES["edge_node_watts"]
    assert scenario.mlperf is not None
    assert scenario.mlperf.target_qps == 12


def test_loads_can_be_named_by_model(tmp_path):
    scenario = load(
        tmp_path, with_sweep(models='["pets", "resnet50"]', loads="{ pets = [40, 20], resnet50 = [5, 20] }")
    )
    by_model = {
        model: sorted({cell.load for cell in planning.cells(scenario) if cell.model == model})
        for model in ("pets", "resnet50")
    }
    assert by_model == {"pets": [20, 40], "resnet50": [5, 20]}


def test_file_names_in_it_can_begin_elsewhere(tmp_path):
    (tmp_path / "trace.csv").write_text("offset_s\n0\n1\n")
    (tmp_path / "copy").mkdir()
    path = tmp_path / "copy" / "scenario.toml"
    path.write_text('[run]\narrivals = "trace"\ntrace = "trace.csv"\n' + SMALLEST)
    with pytest.raises(InvalidArgumentError, match="trace"):
        scenario_file.load(path, PROFILES)
    assert scenario_file.load(path, PROFILES, directory=tmp_path).run.trace == tmp_path / "trace.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel = 'x'\n" + SMALLEST, "titel: unknown key (did you mean 'title'?); allowed: title, description"),
        ("title = 7\n" + SMALLEST, "title: found 7, expected text in quotes"),
        ("seed = -1\n" + SMALLEST, "seed: found -1, expected a whole number in 0..9007199254740991"),
        ("calibrate = 'no'\n" + SMALLEST, "calibrate: found 'no', expected true or false"),
        ("run = 5\n" + SMALLEST, "run: found 5, expected a table [run]"),
        ("[run]\nduraton_s = 5\n" + SMALLEST, "run.duraton_s: unknown key (did you mean 'duration_s'?)"),
        ("[run]\nduration_s = '5s'\n" + SMALLEST, "run.duration_s: found '5s', expected a number in 0.2..86400"),
        ("[run]\nduration_s = nan\n" + SMALLEST, "run.duration_s: found nan, expected a number in 0.2..86400"),
        ("[run]\nrepeats = 0\n" + SMALLEST, "run.repeats: found 0, expected a whole number in 1..1000"),
        ("[run]\nrepeats = true\n" + SMALLEST, "run.repeats: found true, expected a whole number"),
        ("[run]\narrivals = 'poison'\n" + SMALLEST, "(did you mean 'poisson'?)"),
        ("[run]\narrivals = 'trace'\n" + SMALLEST, "run.trace: missing, expected the name of a CSV file"),
        ("[run]\narrivals = 'trace'\ntrace = 'no.csv'\n" + SMALLEST, "no.csv cannot be read: No such file"),
        ("[run]\ntrace = 'a.csv'\n" + SMALLEST, "run.trace: goes with arrivals = \"trace\", and this is 'poisson'"),
        ("[run]\nshape = 'ramps 1..2'\n" + SMALLEST, "run.shape: the load shape 'ramps 1..2' is not understood"),
        ("[model.pets]\nkind = 'pet'\n" + SMALLEST, "model.pets.kind: found 'pet', expected one of 'pets', 'zoo'"),
        (
            "[model.pets]\nserved_as = '../up'\n" + SMALLEST,
            "model.pets.served_as: found '../up', expected a name of 1 to 64",
        ),
        ("[model.mine]\n" + SMALLEST, "model.mine.kind: missing, expected one of 'pets', 'zoo', 'tiny', 'repository'"),
        (
            "[model.pets]\nnetwork = 'resnet50'\n" + SMALLEST,
            "model.pets.network: goes with kind = 'zoo', and this is 'pets'",
        ),
        ("[model.x]\nkind = 'zoo'\nnetwork = 'resnet'\n" + SMALLEST, "(did you mean 'resnet50'?)"),
        ("[model.pets]\nvariants = { cloud = 'huge' }\n" + SMALLEST, "model.pets.variants.cloud: found 'huge'"),
        ("[model.pets]\nbatching = { max_batch = 3 }\n" + SMALLEST, "(did you mean 'max_batch_size'?)"),
        ("[model.pets]\nconfig = '[[['\n" + SMALLEST, "model.pets.config: not TOML"),
        (
            "[model.pets.batching]\nmax_batch_size = 8\nallowed_batch_sizes = [1, 4]\n" + SMALLEST,
            "allowed_batch_sizes: found [1, 4], expected rising sizes that end with max_batch_size = 8",
        ),
        (
            "[model.x]\nkind = 'repository'\ndirectory = 'nowhere'\n" + SMALLEST,
            "model.x.directory: there is no directory",
        ),
        ("[site.cloud]\ntier = 'edge'\n" + SMALLEST, "site.cloud.tier: found 'edge', expected 'cloud'"),
        ("[site.third]\n" + SMALLEST, "site.third.tier: missing, expected one of 'cloud', 'edge'"),
        ("[site.gateway]\ntier = 'edge'\n" + SMALLEST, "site.gateway: a site cannot have the gateway's name"),
        ("[site.'a/b']\ntier = 'edge'\n" + SMALLEST, "expected a name of 1 to 64 letters"),
        (
            "[site.cloud]\nurl = 'https://a:1'\n" + SMALLEST,
            "site.cloud.url: found 'https://a:1', expected http://HOST:PORT",
        ),
        ("[site.cloud]\nurl = 'http://a'\n" + SMALLEST, "site.cloud.url: found 'http://a', expected http://HOST:PORT"),
        ("[site.cloud]\ngrpc = 'a:1'\n" + SMALLEST, "site.cloud.grpc: goes with url"),
        ("[gateway]\nroute = 'nearest'\n" + SMALLEST, "gateway.route: found 'nearest', expected one of 'prefer-cloud'"),
        ("[inputs]\nimages = 'nowhere'\n" + SMALLEST, "nowhere cannot be read: No such file or directory"),
        ("[inputs]\nimages = '.'\n" + SMALLEST, "holds no photographs; expected .jpg, .jpeg, .png, .webp"),
        ("[inputs]\nlabels = 'study.toml'\n" + SMALLEST, "inputs.labels: "),
        ("[inputs]\nlabels = 'no.csv'\n" + SMALLEST, "inputs.labels: there is no file"),
        ("[inputs]\nlimit = 100000\n" + SMALLEST, "inputs.limit: found 100000, expected a whole number in 1..65535"),
        ("[profile.4g]\nrtt_ms = 3\n" + SMALLEST, "profile.4g: the link emulator has a profile of this name"),
        ("[profile.x]\n" + SMALLEST, "profile.x.rtt_ms: missing, expected a number in 0..60000"),
        ("[prices]\nper_gbyte = 1\n" + SMALLEST, "prices.per_gbyte: unknown key (did you mean 'per_gb'?)"),
        (
            "[mlperf]\nscenarios = ['Serve']\n" + SMALLEST,
            "there is no scenario of MLPerf 'Serve' (did you mean 'Server'?)",
        ),
        ("[[outage]]\nsteps = '1s:heal'\n" + SMALLEST, "outage[0].name: missing"),
        (
            "[[outage]]\nname = 'a'\nsteps = '1s:blackhol'\n" + SMALLEST,
            "unknown 'blackhol' (did you mean 'blackhole'?)",
        ),
        ("[outage]\nname = 'a'\n" + SMALLEST, "outage: found a table, expected an array of tables [[outage]]"),
        ("title = 'x'", "sweep: missing, expected a table with targets, models, protocols and loads"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(tmp_path, text, message):
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"targets": '["clod"]'}, "sweep.targets[0]: there is no target 'clod' (did you mean 'cloud'?)"),
        ({"targets": "[]"}, "sweep.targets: found [], expected a list of some of cloud, edge, gateway, at least one"),
        ({"targets": '"cloud"'}, "sweep.targets: found 'cloud', expected a list"),
        ({"targets": '["edge", "edge"]'}, "sweep.targets[1]: found 'edge' a second time, expected each once"),
        ({"profiles": '["fiber"]'}, "sweep.profiles[0]: there is no profile 'fiber' (did you mean 'fibre'?)"),
        ({"models": '["resnet"]'}, "sweep.models[0]: there is no model 'resnet' (did you mean 'resnet50'?)"),
        ({"models": "[7]"}, "sweep.models[0]: found 7, expected text in quotes"),
        ({"protocols": '["rest"]'}, "sweep.protocols[0]: there is no protocol 'rest'"),
        ({"loads": "[0]"}, "sweep.loads[0]: found 0, expected a number in 0.01..50000"),
        ({"loads": "10"}, "sweep.loads: found 10, expected a list of numbers"),
        ({"loads": "[10, 10.0]"}, "sweep.loads[1]: found 10.0 a second time"),
        ({"loads": "{ dogs = [1] }"}, "sweep.loads.dogs: unknown key"),
        ({"batching": "{ big = { max_batch_size = 0 } }"}, "sweep.batching.big.max_batch_size: found 0"),
        ({"models": '["pets", "tiny"]'}, "the model 'tiny' takes no photographs, so it cannot answer 'rest-image'"),
        ({"without": "[{}]"}, "sweep.without[0]: an empty table would leave out everything"),
        ({"without": "[{ target = 'egde' }]"}, "sweep.without: no cell has target = 'egde' (did you mean 'edge'?)"),
        ({"without": "[{ load = 11 }]"}, "sweep.without: no cell has load = 11; expected one of 10.0"),
        ({"without": "[{ tier = 'edge' }]"}, "sweep.without[0].tier: unknown key"),
        ({"without": "[{ load = 10 }]"}, "sweep.without: it leaves out every cell"),
        (
            {"without": "[{ target = 'edge', profile = 'none' }]"},
            "sweep.without: no cell has target = 'edge', profile = 'none' together, so it leaves out nothing",
        ),
        (
            {"loads": "[50000]", "more": "[run]\nduration_s = 1000"},
            "run.duration_s: the longest run would have 50,025,000",
        ),
        ({"more": "[run]\nrepeats = 1000", "loads": f"{list(range(1, 30))}"}, "expected 20,000 runs at most"),
        (
            {"targets": '["edge"]', "more": "[[outage]]\nname = 'cut'\nsteps = '1s:blackhole'"},
            "sweep.targets: an outage is of the link, and no target crosses it",
        ),
        (
            {"more": "[[outage]]\nname = 'cut'\nsteps = '1s:blackhole, 9s:heal'"},
            "outage[0].steps: the step at 9 s lies behind the end of a run of 5 s",
        ),
        (
            {"protocols": '["oip-grpc"]', "more": "[site.cloud]\nurl = 'http://127.0.0.1:1'"},
            "site.cloud.grpc: missing, expected HOST:PORT: the sweep asks cloud by 'oip-grpc'",
        ),
        (
            {"targets": '["gateway"]', "protocols": '["tfs-grpc"]', "more": "[gateway]\nurl = 'http://127.0.0.1:1'"},
            "gateway.grpc: missing, expected HOST:PORT",
        ),
        (
            {"more": "[site.edge]\ncpus = [0, 4095]"},
            "site.edge.cpus[1]: found 4095, expected less than ",
        ),
        (
            {"targets": '["s", "s_p"]', "profiles": '["p"]', "more": TWO_OF_ONE_NAME},
            "sweep: two cells would share the name 's_p_pets_rest-image_10'",
        ),
        (
            {"models": '["mine"]', "more": "[model.mine]\nkind = 'repository'"},
            "model.mine.directory: missing, expected the model repository that the site 'cloud' is to serve",
        ),
        (
            {"batching": "{ one = { max_batch_size = 1 } }", "more": "[site.cloud]\nurl = 'http://127.0.0.1:1'"},
            "sweep.batching: the site 'cloud' is there already and keeps its own",
        ),
    ],
)
def test_a_sweep_that_cannot_be_measured_is_refused(tmp_path, values, message):
    assert message in refusal(tmp_path, with_sweep(**values))


def test_cores_are_counted_among_those_that_can_be_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {7, 3, 12})
    scenario = load(tmp_path, with_sweep(more="[site.edge]\ncpus = [0, 2]"))
    assert scenario.sites[1].cpus == (3, 12)


def test_a_repository_that_is_there_already_needs_no_directory(tmp_path):
    scenario = load(
        tmp_path,
        with_sweep(
            targets='["cloud"]',
            models='["mine"]',
            more="[model.mine]\nkind = 'repository'\n[site.cloud]\nurl = 'http://127.0.0.1:1'",
        ),
    )
    assert scenario.models[0].directory is None


def test_a_model_that_its_repository_does_not_hold_is_refused(tmp_path):
    (tmp_path / "models" / "animals").mkdir(parents=True)
    said = "[model.mine]\ndirectory = 'models'\nserved_as = '{}'\n"
    for name in ("animal", "../models/animals"):
        message = refusal(tmp_path, with_sweep(models='["mine"]', more=said.format(name)))
        assert f"model.mine.served_as: there is no model {name!r} in " in message
        assert "there are animals" in message
    assert load(tmp_path, with_sweep(models='["mine"]', more=said.format("animals"))).models[0].served_as == "animals"
    assert "there is no model 'mine'" in refusal(
        tmp_path, with_sweep(models='["mine"]', more="[model.mine]\ndirectory = 'models'\n")
    )


def test_a_protocol_that_a_model_cannot_answer_can_be_left_out(tmp_path):
    scenario = load(
        tmp_path,
        with_sweep(
            models='["pets", "tiny"]',
            protocols='["rest-image", "rest-json"]',
            without='[{ model = "tiny", protocol = "rest-image" }]',
        ),
    )
    assert {cell.protocol for cell in planning.cells(scenario) if cell.model == "tiny"} == {"rest-json"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[run", "not TOML"),
        (b"\xff\xfe", "not UTF-8 (byte 0)"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deep"),
        (b"#" * (1 << 20) + b"#", "larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused(tmp_path, content, message):
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidArgumentError) as caught:
        scenario_file.load(path, PROFILES)
    assert message in caught.value.message


def test_a_place_without_a_file_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="cannot be read: No such file or directory"):
        scenario_file.load(tmp_path / "no.toml", PROFILES)
    with pytest.raises(InvalidArgumentError, match="not a regular file"):
        scenario_file.load(tmp_path, PROFILES)


SHIPPED = Path(__file__).parents[3] / "loadtests" / "scenarios"
# Seconds in all, on the two-core machine whose overheads `planning` knows; what is lost over narrow networks and tried again comes
# on top.
LONGEST_S = {"quick": 89, "tradeoff": 750, "architectures": 840, "outage": 600, "inversion": 1500, "mlperf": 600}


def test_every_shipped_scenario_is_known_here():
    # A comparison of networks is another kind of study, with tests of its own.
    assert {path.stem for path in SHIPPED.glob("*.toml")} - {"networks"} == set(LONGEST_S)


@pytest.mark.parametrize("name", LONGEST_S)
def test_a_shipped_scenario_can_be_measured_in_its_time(name, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    from edgewise.link.profiles import PROFILES as OF_THE_LINK

    profiles = {one.name: NetworkProfile(one.name, one.conditions.rtt_ms) for one in OF_THE_LINK.values()}
    scenario = scenario_file.load(SHIPPED / f"{name}.toml", profiles)
    assert scenario.text.startswith("# ")
    assert planning.cells(scenario)
    assert expected_s(scenario) <= LONGEST_S[name]
    if name == "tradeoff":
        assert set(scenario.sweep.profiles) == set(profiles)


def test_the_zoo_is_that_of_the_model_server():
    from edgewise.model_server.building.zoo import NETWORKS
    from edgewise.study.scenario_models import VARIANTS, ZOO

    assert dict(ZOO) == {name: network.output for name, network in NETWORKS.items()}
    from edgewise.model_server.building.pets import VARIANTS as OF_PETS

    assert set(VARIANTS) == set(OF_PETS)
