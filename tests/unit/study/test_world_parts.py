"""What a world is made of, without its processes."""

import tomllib
from pathlib import Path

import pytest

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.study import model_store
from edgewise.study.model_store import ModelStore, served_settings, toml_text
from edgewise.study.parts import ending, ports_of
from edgewise.study.results import NetworkProfile
from edgewise.study.scenario import ModelSpec, SiteSpec
from edgewise.study.world_addresses import conditions, parsed_address, transport_of

EDGE = SiteSpec("edge", "edge", instances=2)


@pytest.mark.parametrize(
    ("line", "ports"),
    [
        ("rest=http://127.0.0.1:8501 grpc=127.0.0.1:8500 site=edge tier=edge", {"rest": 8501, "grpc": 8500}),
        (
            "link=127.0.0.1:9000 to=127.0.0.1:8501 control=http://127.0.0.1:9001 profile=4g seed=5 name=link",
            {"link": 9000, "to": 8501, "control": 9001},
        ),
        ("link=[::1]:9000 to=[::1]:1 control=http://[::1]:9001", {"link": 9000, "to": 1, "control": 9001}),
    ],
)
def test_ports_are_read_from_a_ready_line(line, ports):
    assert ports_of(line) == ports


@pytest.mark.parametrize(
    ("code", "said"), [(0, "exit code 0"), (-9, "SIGKILL"), (None, "nothing: it runs"), (-200, "-200")]
)
def test_an_ending_is_told(code, said):
    assert said in ending(code)


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("http://a.example:80", ("a.example", 80)),
        ("b:1/", ("b", 1)),
        ("[::1]:8500", ("::1", 8500)),
        ("grpc://c:2", ("c", 2)),
    ],
)
def test_addresses_are_read(word, address):
    assert parsed_address(word) == address


@pytest.mark.parametrize("word", ["", "host", "http://host", "host:0", "host:70000", "http://h:1/path", ":80"])
def test_what_is_no_address_is_refused(word):
    with pytest.raises(InvalidArgumentError, match="no address"):
        parsed_address(word)


def test_a_protocol_has_one_transport():
    assert [transport_of(one) for one in ("rest-json", "rest-binary", "tfs-grpc", "oip-grpc")] == [
        "http",
        "http",
        "grpc",
        "grpc",
    ]


def test_a_network_of_the_scenario_is_told_to_the_link_key_by_key():
    told = conditions(NetworkProfile("mine", 30.0, up_kbit_s=500.0, loss_ratio=0.01))
    assert told == {"rtt_ms": 30.0, "jitter_ms": 0.0, "loss_ratio": 0.01, "up_kbit_s": 500.0, "down_kbit_s": None}


def test_toml_comes_back_as_it_was():
    tables = {
        "backend": "onnx",
        "odd key": 'quotes " and \\ and \n and \x7f and ümlaut',
        "trained": True,
        "numbers": [1, 2.5, -3],
        "signatures": {"image": {"preprocess": {"mean": [0.5, 1e-9], "crop": 224}}},
        "golden": [{"file": "cat.jpg", "expect": "cat"}, {"file": "dog.jpg", "expect": [1.0]}],
        "empty": {},
    }
    assert tomllib.loads(toml_text(tables)) == tables


def test_batching_goes_before_what_the_model_says_and_takes_along_what_no_longer_fits():
    told = {
        "batching": {"max_batch_size": 16, "allowed_batch_sizes": [4, 16], "max_queue": 256},
        "warmup": {"batch_sizes": [1, 16], "repeats": 2},
    }
    served = served_settings(told, {"instances": 2, "max_batch_size": 1})
    assert served["batching"] == {"max_batch_size": 1, "max_queue": 256, "instances": 2}
    assert served["warmup"] == {"batch_sizes": [1], "repeats": 2}
    assert served_settings(told, {"max_queue": 9})["batching"]["allowed_batch_sizes"] == [4, 16]
    assert served_settings(told, {"max_batch_size": 8})["warmup"]["batch_sizes"] == [1]
    assert served_settings({}, {"instances": 3}) == {"batching": {"instances": 3}}


@pytest.fixture
def repository(tmp_path):
    version = tmp_path / "models" / "mine" / "3"
    version.mkdir(parents=True)
    (tmp_path / "models" / "mine" / "1").mkdir()
    (version / "model.onnx").write_bytes(b"network")
    (version / "model.toml").write_text('description = "of the version"\n[batching]\nmax_batch_size = 4\n')
    (tmp_path / "models" / "mine" / "labels.txt").write_text("a\nb\n")
    return tmp_path / "models"


def spec(repository, **words):
    return ModelSpec("m", served_as="mine", kind="repository", directory=repository, **words)


def test_a_copy_has_the_newest_version_and_settings_of_its_own(tmp_path, repository):
    store = ModelStore(tmp_path / "cache", tmp_path / "log")
    model = spec(repository, batching={"max_queue": 5}, config='[signatures.s]\nkind = "plain"\n')
    batching = store.copy(model, EDGE, {"max_delay_ms": 2}, tmp_path / "copy")
    assert batching == {"max_batch_size": 4, "instances": 2, "max_queue": 5, "max_delay_ms": 2}
    copied = tmp_path / "copy" / "mine"
    assert [path.name for path in sorted(copied.iterdir())] == ["3", "labels.txt"]
    assert (copied / "3" / "model.onnx").read_bytes() == b"network"
    told = tomllib.loads((copied / "3" / "model.toml").read_text())
    assert told["description"] == "of the version"
    assert told["signatures"] == {"s": {"kind": "plain"}}
    # The original is as it was, though its files are linked.
    assert "instances" not in (repository / "mine" / "3" / "model.toml").read_text()
    store.copy(model, EDGE, {}, tmp_path / "copy")
    assert "max_delay_ms" not in (copied / "3" / "model.toml").read_text()


def test_a_copy_on_another_file_system_is_one_of_bytes(tmp_path, repository, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(model_store.os, "link", refuse)
    ModelStore(tmp_path / "cache", tmp_path / "log").copy(spec(repository), EDGE, {}, tmp_path / "copy")
    assert (tmp_path / "copy" / "mine" / "3" / "model.onnx").read_bytes() == b"network"


def test_a_repository_without_the_model_is_told(tmp_path):
    with pytest.raises(NotFoundError, match="no model version in .*mine"):
        ModelStore(tmp_path, tmp_path / "log").copy(spec(tmp_path), EDGE, {}, tmp_path / "copy")


def test_a_model_toml_that_is_none_is_told(tmp_path, repository):
    (repository / "mine" / "3" / "model.toml").write_text("= no")
    with pytest.raises(InvalidArgumentError, match="model.toml is not TOML"):
        ModelStore(tmp_path, tmp_path / "log").copy(spec(repository), EDGE, {}, tmp_path / "copy")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (ModelSpec("p", "pets", "pets", variants={"edge": "edge-float32"}), ["pets", "--variant", "edge-float32"]),
        (ModelSpec("p", "pets", "pets"), ["pets", "--variant", "edge"]),
        (ModelSpec("z", "resnet50", "zoo", network="resnet50"), ["zoo", "--only", "resnet50"]),
        (ModelSpec("t", "tiny", "tiny"), ["tiny"]),
    ],
)
def test_models_are_built_by_the_command_that_a_user_types(tmp_path, monkeypatch, model, words):
    ran = []

    def run(said, _log, _stop):
        ran.append(said)
        (Path(said[3]) / model.served_as / "1").mkdir(parents=True, exist_ok=True)
        return 1 if "--force" not in said and len(ran) == 1 else 0

    monkeypatch.setattr(model_store, "run_edgewise", run)
    store = ModelStore(tmp_path / "cache", tmp_path / "log")
    for _ in range(2):
        assert store.built(model, EDGE).name == "1"
    # Refused once, as what another version built is, then built by force; the second time it is known.
    assert [one[2] for one in ran] == [words[0]] * 2
    assert ran[0][4:] == words[1:]
    assert ran[1][-1] == "--force"


def test_a_user_without_a_home_that_can_be_written_is_told_what_to_set(tmp_path):
    (tmp_path / "file").write_text("")
    store = ModelStore(tmp_path / "file" / "cache", tmp_path / "log")
    with pytest.raises(Exception, match="XDG_CACHE_HOME"):
        store.built(ModelSpec("t", "tiny", "tiny"), EDGE)
