"""`[capture]` of gateway.toml: what it comes to, and one clear message for each mistake."""

from pathlib import Path

import pytest

from edgewise.core.capture.limits import Limit
from edgewise.core.capture.rules import CaptureRules
from edgewise.core.errors import InvalidArgumentError
from edgewise.gateway.capture_config import CaptureConfig, ModelCapture
from edgewise.gateway.toml_config import parse_config

SITES = """
[[site]]
name = "cloud"
tier = "cloud"
rest = "http://a:1"

[[site]]
name = "edge"
tier = "edge"
rest = "http://b:1"
"""
LEAST = '[capture]\ndirectory = "kept"\nsite = "factory-7"\nmodels = ["pets"]\n'


def parse(text, sites=SITES):
    return parse_config(sites + text, Path("/nowhere/gateway.toml")).capture


def test_nothing_is_captured_unless_a_file_says_so():
    assert parse("") is None
    assert parse(LEAST + "enabled = false") is None


def test_what_is_said_least():
    found = parse(LEAST)
    assert found == CaptureConfig(Path("/nowhere/kept"), "factory-7", models={"pets": ModelCapture()})
    assert found.of_model("pets") == ModelCapture(pictures=True, answers=True, rules=CaptureRules())
    assert found.of_model("faces") is None


def test_a_site_need_not_be_named():
    assert parse(LEAST.replace('site = "factory-7"\n', "")).site == ""


def test_a_models_table_begins_with_what_capture_says_and_may_turn_it_off():
    found = parse(
        LEAST.replace('["pets"]', '"all"')
        + "sampled = 0.5\npictures = false\nlow_confidence_per_hour = 10\nmax_bytes = 2_000_000\n"
        "[capture.pets]\npictures = true\ndrift = false\nall = true\n[capture.faces]\nenabled = false\n[capture.drift]\nsampled = 0"
    )
    assert (found.max_bytes, found.retention_days) == (2_000_000, 30.0)
    pets, other = found.of_model("pets"), found.of_model("whatever")
    assert (pets.pictures, pets.rules.sampled, pets.rules.drift, pets.rules.all) == (True, 0.5, None, True)
    assert pets.rules.limits["low-confidence"] == Limit(1.0, 10.0)
    assert (other.pictures, other.rules.drift, other.rules.all) == (False, 0.25, False)
    assert found.of_model("faces") is None
    # A model may be called as a key is.
    assert found.of_model("drift").rules.sampled == 0


def test_models_with_tables_need_not_be_named_again():
    found = parse(LEAST.replace('models = ["pets"]\n', "") + "[capture.pets]\ndisagreement = 0.25")
    assert found.of_model("pets").rules.disagreement == 0.25
    assert found.of_model("other") is None


def test_processes_share_limits_and_nothing_else():
    config = parse_config(
        SITES + LEAST + "all_per_second = 8\n[capture.b]\nenabled = false", Path("/nowhere/gateway.toml")
    )
    share = config.share_of(1, 4).capture
    assert share.of_model("pets").rules.limits["all"] == Limit(2.0, 9000.0)
    assert share.of_model("b") is None
    assert share.max_bytes == config.capture.max_bytes


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('[capture]\nsite = "s"\nmodels = ["a"]', ["[capture]", "directory is missing"]),
        (LEAST.replace("factory-7", "a/b"), ["[capture]", "site is 'a/b'", "without slashes"]),
        ('[capture]\ndirectory = "d"\nsite = "s"', ["models is missing", 'models = ["pets"], or "all"']),
        (LEAST.replace('["pets"]', '"pets"'), ["models is 'pets'", '["pets"], or "all"']),
        (LEAST.replace('["pets"]', "[]"), ["models is []", "expected names of models"]),
        (LEAST.replace('"kept"', '"/dev/null"'), ["directory is", "expected a directory, and /dev/null is a file"]),
        (LEAST + "sampled = 1.5", ["sampled is 1.5", "expected a number from 0 to 1"]),
        (LEAST + "sampled = true", ["sampled is true", "expected a number from 0 to 1"]),
        (LEAST + "disagreement = true", ["disagreement is true", "expected a number from 0 to 1, or false"]),
        (LEAST + "drift = 0", ["drift is 0", "expected a number from 0.01 to 10, or false"]),
        (LEAST + 'pictures = "no"', ["pictures is 'no'", "expected true or false"]),
        (LEAST + "max_bytes = 1000", ["max_bytes is 1000", "expected a whole number from 1048576"]),
        (LEAST + "max_sample_bytes = 99_000_000", ["max_sample_bytes", "from 1024 to 16777216"]),
        (LEAST + "retention_days = 0", ["retention_days is 0", "expected a number from 0.01 to 3650"]),
        (LEAST + "all_per_second = 0", ["all_per_second is 0", "expected a number from 0.001"]),
        (LEAST + "sample = 0.1", ["there is no key 'sample' (did you mean 'sampled'?)"]),
        (LEAST + "[capture.pets]\nsite = 's'", ["[capture.pets]", "there is no key 'site'"]),
        (LEAST + "[capture.pets]\nsampled = 2", ["[capture.pets]", "sampled is 2"]),
        (
            LEAST + "sampled = 0\nlow_confidence = false\ndrift = false\ndisagreement = false",
            ["no rule is left", "enabled = false"],
        ),
        ("capture = 3\n", ["capture is 3", "expected a table"]),
    ],
)
def test_each_mistake_is_told(text, parts):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_config(text + SITES if text.startswith("capture =") else SITES + text, Path("/nowhere/gateway.toml"))
    for part in ("/nowhere/gateway.toml", *parts):
        assert part in caught.value.message


def test_asking_the_other_tier_takes_two_tiers():
    one_tier = '[[site]]\nname = "edge"\ntier = "edge"\nrest = "http://b:1"\n'
    with pytest.raises(
        InvalidArgumentError, match="disagreement = 0.1 asks a site of the other tier as well, and all sites are"
    ):
        parse(LEAST + "disagreement = 0.1", one_tier)
    assert parse(LEAST + "disagreement = 0.0", one_tier) is not None
