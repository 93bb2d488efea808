"""The command line, and the form of the web page that is held to the same."""

import argparse

import pytest
from swarm import options


def parsed(*words):
    parser = argparse.ArgumentParser()
    options.add_options(parser)
    return parser.parse_args(words)


def test_the_defaults_are_the_ordinary_way():
    said = parsed()
    assert (said.model, said.engine, said.rate, said.shape, said.deadline_ms) == ("pets", "closed", 0.0, "", 0.0)
    assert options.complaint({**vars(said), "run_time": None}) == ""


def test_help_is_shown():
    parser = argparse.ArgumentParser()
    options.add_options(parser)
    shown = parser.format_help()
    assert "%%" not in shown
    assert "steps 0.5,1,2" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shape", "sideways"), "the load shape 'sideways' is not understood"),
        (("--shape", "custom /nowhere.csv"), "/nowhere.csv cannot be read"),
        (("--rate", "-1"), "'-1' is no number of at least 0"),
        (("--rate", "nan"), "'nan' is no number"),
        (("--rate", "1e9"), "at most 1e+06"),
        (("--timeout-s", "0"), "'0' is no number of more than 0"),
        (("--timeout-s", "inf"), "'inf' is no number"),
        (("--deadline-ms", "soon"), "'soon' is no number"),
        (("--seed", "1.5"), "'1.5' is no whole number"),
        (("--images", "/nowhere"), "'/nowhere' is no directory"),
        (("--engine", "ajar"), "invalid choice: 'ajar'"),
        (("--arrivals", "late"), "invalid choice: 'late'"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, words, said):
    with pytest.raises(SystemExit) as refused:
        parsed(*words)
    assert refused.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"rate": "many"}, "--rate: 'many' is no number"),
        ({"timeout_s": ""}, "--timeout-s: '' is no number"),
        ({"seed": "-1"}, "--seed: '-1' is no whole number"),
        ({"shape": "ramp"}, "--shape: the load shape 'ramp' is not understood"),
        ({"engine": "ajar"}, "--engine: 'ajar' is none of closed, open, both"),
        ({"arrivals": "late"}, "--arrivals: 'late' is none of"),
        ({"engine": "both", "rate": "0"}, "compares the two at one rate"),
        ({"engine": "both", "rate": "5"}, "--engine both divides up the run time"),
        ({"shape": "day 0.3..1"}, "--shape divides up the run time"),
    ],
)
def test_a_form_is_held_to_the_same(form, said):
    complaint = options.complaint({**vars(parsed()), "run_time": "", **form})
    assert said in complaint


def test_a_form_that_is_well_gives_no_complaint():
    form = {"engine": "both", "rate": "5", "run_time": "20s", "shape": "spike 3x at 40% for 10%", "seed": "3"}
    assert options.complaint({**vars(parsed()), **form}) == ""
