"""The scenario of a comparison of networks is read strictly, before anything is trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.cli.study import _profiles
from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.study import scenario_file
from edgewise.study.study_directory import Taking
from edgewise.train import spec_file
from edgewise.train.networks_study import runner, scenario
from support.networks_world import SCENARIO

SHIPPED = Path(__file__).parents[3] / "loadtests" / "scenarios" / "networks.toml"


def read(tmp_path, text):
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return scenario.load(path, _profiles())


def test_the_shipped_one_ends_within_a_quarter_of_an_hour():
    found = scenario.load(SHIPPED, _profiles())
    assert found.names == ("alexnet", "inception-v3", "resnet-50", "efficientnet-lite0")
    assert len(found.versions) == 12
    assert runner.expected_s(found, _profiles()) < 15 * 60


def test_what_is_small_is_named_and_nothing_else(tmp_path):
    found = read(tmp_path, SCENARIO)
    assert runner._reduced(replace(found, size_px=96, epochs=2), 60) == (
        "pictures of 96 px, where networks are made for 224 to 299",
        "60 pictures in all",
        "2 epochs of each network",
    )
    for size_px in (0, 224, 299):
        assert runner._reduced(replace(found, size_px=size_px, epochs=40), 5000) == ()


def test_other_scenarios_are_not_of_this_kind():
    assert scenario.compares_networks(SHIPPED)
    assert not scenario.compares_networks(SHIPPED.with_name("quick.toml"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('names = ["alexnet"', 'names = ["alexnt"', "networks.names[0]: there is no network 'alexnt' (did you mean"),
        ("size = 96", "size = 50", "networks.size: found 50, expected at least 67 for alexnet, or 0"),
        (
            "size = 96",
            'pretrained = ["alexnet"]',
            "networks.pretrained[0]: there are no published weights of 'alexnet'",
        ),
        ("size = 96", "side = 96", "networks.side: unknown key"),
        ("epochs = 2", "epochs = 0", "networks.epochs: found 0, expected a whole number in 1..1000"),
        ("images = 12", 'images = 12\ndataset = "d"', "networks.images: goes with drawn pictures"),
        ("loads = [20]", 'loads = [20]\nmodels = ["pets"]', "sweep.models: the models are those of [networks]"),
        ("loads = [20]", "loads = []", "sweep.loads: found []"),
        ('"rest-image"', '"rest-picture"', "there is no protocol 'rest-picture'"),
        ("[run]", "[site.edge]\nthread = 1\n[run]", "site.edge.thread: unknown key"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(tmp_path, old, new, said):
    assert old in SCENARIO
    with pytest.raises(InvalidArgumentError) as caught:
        read(tmp_path, SCENARIO.replace(old, new))
    assert said in caught.value.message
    assert "scenario.toml" in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"float32", "int8"',
            '"float32", "int9"',
            "networks.formats[1]: there is no format 'int9' (did you mean 'int8'?)",
        ),
        ("epochs = 2", "epochs = 0", "networks.epochs: found 0"),
    ],
)
def test_what_the_networks_table_says_comes_before_what_others_lack(tmp_path, old, new, said):
    alone = SCENARIO.partition("[run]")[0]
    with pytest.raises(InvalidArgumentError) as caught:
        read(tmp_path, alone.replace(old, new))
    assert said in caught.value.message


def test_nothing_to_go_on_with_leaves_no_directory(tmp_path):
    found = read(tmp_path, SCENARIO)
    with pytest.raises(NotFoundError, match="leave --resume out to begin one"):
        runner.run(found, tmp_path / "o3", profiles=_profiles(), draw=lambda *_words: None, how=Taking(resume=True))
    assert not (tmp_path / "o3").exists()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("network", "network: unknown key (did you mean 'networks'?); allowed: title, "),
        ("networks", "networks: this compares networks, which `edgewise study run` and `report` can do"),
    ],
)
def test_other_studies_know_the_name_of_the_table(tmp_path, table, said):
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO.replace("[networks]", f"[{table}]"))
    with pytest.raises(InvalidArgumentError) as caught:
        scenario_file.load(path, _profiles())
    assert said in caught.value.message
    assert ", networks" in caught.value.message or table == "networks"


def test_a_dataset_that_is_not_there_is_said_before_anything_is_made(tmp_path):
    text = SCENARIO.replace("images = 12", 'dataset = "mine"')
    found = read(tmp_path, text)
    with pytest.raises(InvalidArgumentError, match=r"networks\.dataset: .*mine holds no dataset\.json"):
        runner.run(found, tmp_path / "study", profiles=_profiles(), draw=lambda *_words: None)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("pretrained", [False, True])
def test_what_training_is_told_is_a_specification(tmp_path, pretrained):
    text = SCENARIO.replace('"resnet-50"', '"efficientnet-lite0"')
    if pretrained:
        text = text.replace("size = 96", 'size = 96\npretrained = ["efficientnet-lite0"]')
    found = read(tmp_path, text)
    spec = tmp_path / "spec.toml"
    spec.write_text(scenario.training_text(found, "efficientnet-lite0", tmp_path / "dataset"))
    settings = spec_file.load(spec).settings
    assert (settings.weights, settings.stages[0].unfreeze) == (("imagenet", 0) if pretrained else ("none", -1))
    assert (settings.size, settings.epochs, settings.early_stopping.patience) == (96, 2, 0)
