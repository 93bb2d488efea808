"""docs/rollouts.md says what is so: its pictures are the tables, its examples can be read, its keys are all that there are."""

import argparse
import re
from pathlib import Path

import pytest

from edgewise.cli import rollout as rollout_command
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout import rollout_state, site_state
from edgewise.core.rollout.gates import Gate, LatencyGate, Verdict
from edgewise.core.rollout.sequential import Compared
from edgewise.core.rollout.specification import Specification
from edgewise.core.rollout.waves import Wave
from edgewise.protocols import rollout_specification
from edgewise.protocols.rollout_specification import read_specification

TEXT = (Path(__file__).parents[3] / "docs" / "rollouts.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_pictures_are_drawn_from_the_tables():
    drawn = [rollout_state.diagram(), site_state.diagram()]

    assert blocks("mermaid") == drawn, "\n".join(f"```mermaid\n{each}\n```" for each in drawn)


def test_the_whole_example_says_every_key():
    (text,) = blocks("yaml")
    specification = read_specification(text, "yaml")

    said = set(re.findall(r"(\w+):", text))
    assert said >= set(keys())
    assert specification.gates.latency == LatencyGate()


def test_the_least_example_is_everything_by_default():
    (text,) = blocks("toml")

    assert read_specification(text, "toml") == Specification("pets", 2, (Wave("all"),))


def test_the_table_names_every_key():
    table = TEXT.partition("| key | | left out |")[2].partition("\n\n")[0]
    named = {word for name in re.findall(r"`([\w.\[\]]+)`", table) for word in re.findall(r"\w+", name)}

    assert named >= set(keys())


def test_the_example_of_a_mistake_is_what_is_said():
    text = "model: pets\nversion: 2\nwaves:\n  - name: all\n    take: 1/2\n"
    with pytest.raises(InvalidArgumentError) as caught:
        read_specification(text, "yaml", file="pets-2.yaml")

    assert f"```\n{caught.value.message}\n```" in TEXT


def test_every_verb_is_described():
    root = argparse.ArgumentParser()
    rollout_command.add_to(root.add_subparsers())
    command = root.parse_args(["rollout", "status"])
    assert command.verb == "status"
    table = TEXT.partition("| `edgewise rollout …` | |")[2].partition("\n\n")[0]
    verbs = re.findall(r"^\| `(\w+)(?: [^`]*)?` \|", table, re.MULTILINE)

    for verb in verbs:
        with pytest.raises(SystemExit) as ended:
            root.parse_args(["rollout", verb, "--help"])
        assert ended.value.code == 0
    assert set(verbs) >= {verb.value for verb in rollout_command.VERBS} | {
        "plan",
        "start",
        "status",
        "watch",
        "history",
    }


def test_the_numbers_of_requests_suffice_and_much_fewer_do_not():
    table = TEXT.partition("| both fail |")[2].partition("\n\n")[0].splitlines()[2:]
    columns = [(0.01, 0.5), (0.01, 0.1), (0.05, 0.5), (0.05, 0.1)]

    assert len(table) == 4
    for line in table:
        rate, *counts = line.strip("| ").split(" | ")
        hits = float(rate.removesuffix(" %")) / 100.0
        for (margin, share), count in zip(columns, counts, strict=True):
            assert verdict(margin, share, int(count.replace(",", "")), hits) == Verdict.PASS
            assert verdict(margin, share, int(0.8 * int(count.replace(",", ""))), hits) == Verdict.INCONCLUSIVE


def verdict(margin, share, count, rate):
    new = round(count * share)
    old = count - new
    return Gate(margin).verdict([Compared(share, new, round(new * rate), old, round(old * rate))])


def keys():
    module = rollout_specification
    return {*module._TOP_KEYS, *module._WAVE_KEYS, *module._GATES_KEYS, *module._LATENCY_KEYS, *module._CANARY_KEYS}
