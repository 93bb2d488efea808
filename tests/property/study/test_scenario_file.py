"""Whatever a scenario's file says, it is read or refused with a message that names the file."""

import copy
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import planning, scenario_file
from edgewise.study.model_store import toml_text
from edgewise.study.results import NetworkProfile

PROFILES = {name: NetworkProfile(name, 1) for name in ("none", "fibre", "4g")}
WHOLE = tomllib.loads("""
title = "whole"
seed = 4
calibrate = true
run = { duration_s = 2, warmup_s = 0.5, repeats = 2, timeout_s = 1, deadline_ms = 5, arrivals = "poisson", shape = "constant" }
model.pets = { variants = { cloud = "edge" }, batching = { max_batch_size = 1 } }
model.resnet50 = { config = "threads = 1" }
site.cloud = { pooled = 2, instances = 2, threads = 1, cpus = [] }
site.attic = { tier = "edge", url = "http://127.0.0.1:1", grpc = "127.0.0.1:2" }
gateway = { route = "fastest", config = "" }
inputs = { short_side_px = 9, jpeg_quality = 80, augment = 1, limit = 5 }
sweep.targets = ["cloud", "edge", "gateway"]
sweep.profiles = ["4g", "own"]
sweep.models = ["pets", "resnet50"]
sweep.protocols = ["rest-image", "oip-grpc"]
sweep.loads = { pets = [1, 2], resnet50 = [2.5] }
sweep.without = [{ target = "gateway", protocol = ["oip-grpc"] }]
outage = [{ name = "cut", steps = "1s:blackhole" }, { name = "calm", steps = "" }]
profile.own = { rtt_ms = 3 }
prices = { per_gb = 1 }
mlperf = { scenarios = ["Server"], target_qps = 3 }
""")

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(10**400), 10**400) | st.integers(-2, 100),
    st.floats(),
    st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=12),
    st.sampled_from(["cloud", "edge", "gateway", "pets", "4g", "oip-grpc", "1s:heal", "ramp 0..1", "trace", "zoo"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab-.é ", max_size=5), inner, max_size=3),
)


def places(table, path=()):
    """Every key of a document, those in lists of tables too."""
    items = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


PLACES = sorted(places(WHOLE), key=str)


def refused_or_planned(document, directory):
    path = directory / "study.toml"
    path.write_text(toml_text(document))
    try:
        scenario = scenario_file.load(path, PROFILES)
    except InvalidArgumentError as refusal:
        message = refusal.message
    else:
        assert planning.runs(scenario)
        assert planning.expected_s(scenario) > 0
        return
    assert str(path) in message
    assert len(message) < 2000


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scenarios")


def test_the_scenario_that_is_spoiled_here_is_sound(directory):
    refused_or_planned(WHOLE, directory)
    assert len(planning.cells(scenario_file.load(directory / "study.toml", PROFILES))) > 10


@settings(max_examples=300)
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_anywhere_is_read_or_refused(directory, place, value):
    document = copy.deepcopy(WHOLE)
    *path, last = place
    table = document
    for key in path:
        table = table[key]
    table[last] = value
    refused_or_planned(document, directory)


@settings(max_examples=100)
@given(place=st.sampled_from(PLACES), key=st.text("abcdefrst_", min_size=1, max_size=9))
def test_any_key_anywhere_is_read_or_refused(directory, place, key):
    document = copy.deepcopy(WHOLE)
    table = document
    for step in place[:-1]:
        table = table[step]
    if isinstance(table, dict):
        table[key] = 1
    refused_or_planned(document, directory)
