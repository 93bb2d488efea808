"""Specifications as people write them: what they mean, and what is said of one that is wrong."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.gates import AccuracyGate, Gate, Gates, LatencyGate
from edgewise.core.rollout.selectors import parse_selector
from edgewise.core.rollout.specification import Canary, OnFailure, Specification
from edgewise.core.rollout.waves import Amount, Wave
from edgewise.protocols.rollout_specification import parse_duration_s, read_specification
from edgewise.protocols.rollout_specification_text import specification_text

FULL = Specification(
    model="pets",
    version=2,
    waves=(
        Wave("canary", parse_selector("tier=edge,region=eu"), Amount(count=1), Amount(share=0.25), Amount(count=0)),
        Wave("everyone", parse_selector(""), Amount(share=1.0), Amount(count=50), Amount(share=0.02)),
    ),
    gates=Gates(
        Gate(0.02, 0.95),
        LatencyGate(0.05, 0.99, 0.9, 1.5),
        Gate(0.1, 0.9),
        golden=False,
        accuracy=AccuracyGate(0.03, 0.9),
    ),
    canary=Canary(0.05, 60.0, (0.01, 0.1, 0.5), 90.0, 600.0),
    silent_s=90.0,
    patience_s=5400.0,
    on_failure=OnFailure.PAUSE,
    prestage=False,
)

FULL_YAML = """\
model: pets
version: 2
waves:
  - {name: canary, sites: "tier=edge,region=eu", take: 1, at_once: 25%, may_fail: 0}
  - name: everyone
    at_once: 50
    may_fail: 2%
gates:
  errors: {margin: 2%, confidence: 95%}
  latency: {margin: 5%, confidence: 0.99, quantile: 90%, ratio: 1.5}
  disagreement: {margin: 10%, confidence: 90%}
  golden: false
  accuracy: {worse_by: 3%, confidence: 90%}
canary: {shadow: 5%, shadow_for: 1m, shares: [1%, 10%, 0.5], each_for: 90, bake: 10m}
silent_after: 90s
patience: 1h30m
on_failure: pause
prestage: false
"""

FULL_TOML = """\
model = "pets"
version = 2
silent_after = "90s"
patience = "1h30m"
on_failure = "pause"
prestage = false

[[waves]]
name = "canary"
sites = "tier=edge,region=eu"
take = 1
at_once = "25%"
may_fail = 0

[[waves]]
name = "everyone"
at_once = 50
may_fail = "2%"

[gates]
errors = { margin = "2%", confidence = 0.95 }
disagreement = { margin = 0.1, confidence = "90%" }
golden = false
accuracy = { worse_by = "3%", confidence = 0.9 }

[gates.latency]
margin = "5%"
confidence = "99%"
quantile = 0.9
ratio = 1.5

[canary]
shadow = "5%"
shadow_for = "1m"
shares = ["1%", "10%", "50%"]
each_for = 90
bake = "10m"
"""

LEAST = "model: pets\nversion: 2\nwaves: [{name: all}]\n"


def test_yaml_and_toml_say_the_same():
    assert read_specification(FULL_YAML, "yaml") == FULL
    assert read_specification(FULL_TOML, "toml") == FULL


def test_what_is_not_said_is_as_it_is_by_default():
    assert read_specification(LEAST, "yaml") == Specification("pets", 2, (Wave("all"),))


def test_what_is_written_reads_back_as_the_same():
    assert read_specification(specification_text(FULL), "toml") == FULL


@pytest.mark.parametrize("off", ["off", "false", "no"])
def test_a_gate_can_be_off(off):
    gates = read_specification(LEAST + f"gates: {{errors: {off}, latency: {off}}}", "yaml").gates
    assert (gates.errors, gates.latency, gates.golden) == (None, None, True)


def test_a_gate_that_is_on_is_as_it_is_by_default():
    gates = read_specification(
        LEAST + "gates: {errors: on, disagreement: on}\ncanary: {shadow: 1%, shadow_for: 1m}", "yaml"
    ).gates
    assert (gates.errors, gates.disagreement) == (Gate(0.01), Gate(0.01))
    assert read_specification(
        'model = "pets"\nversion = 2\nwaves = [{name = "all"}]\n[gates]\nerrors = "off"', "toml"
    ).gates == Gates(errors=None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("5m", 300.0), ("1h", 3600.0), ("1h 30m", 5400.0), ("250ms", 0.25), ("2d", 172800.0), ("0s", 0.0)],
)
def test_durations(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 minutes", "1h30", "nan"])
def test_what_is_no_duration(text):
    assert parse_duration_s(text) is None


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("yaml", LEAST + "modle: pets\n", "r.txt, line 4: modle: unknown key (did you mean 'model'?); allowed: model,"),
        ("yaml", "version: 2\nwaves: [{name: a}]", "r.txt: model: missing, expected a string"),
        ("yaml", "model: pets\nversion: two\nwaves: [{name: a}]", "line 2: version: found 'two', expected a whole"),
        ("yaml", "model: ../pets\nversion: 2\nwaves: [{name: a}]", "line 1: model: found '../pets', expected 1 to 128"),
        ("yaml", "model: pets\nversion: 2\n", "r.txt: waves: missing, expected at least one wave"),
        (
            "yaml",
            "model: pets\nversion: 2\nwaves: all\n",
            "line 3: waves: found 'all', expected a list of waves, such as \"- name: canary\"",
        ),
        (
            "yaml",
            "model: pets\nversion: 2\nwaves: [all]\n",
            "line 3: waves[0]: found 'all', expected keys with values in each of the waves, such as name: canary",
        ),
        (
            "toml",
            'model = "pets"\nversion = 2\nwaves = "all"\n',
            "line 3: waves: found 'all', expected an array of tables [[waves]]",
        ),
        (
            "yaml",
            "model: pets\nversion: 2\nwaves: [{name: us, sites: tier=edge,us}]\n",
            "line 3: found 'us' with no value; a text with a comma in it goes in quotes: sites: \"tier=edge,us\"",
        ),
        (
            "yaml",
            "model: pets\nversion: 2\nwaves:\n  - name: a\n    sites: !gpu\n",
            "line 5: found !gpu as a tag; a text that begins with ! goes in quotes",
        ),
        (
            "yaml",
            "model: pets\nversion: 2\nwaves: [{name: a, take: 500%}]\n",
            'or a share of them such as "25%", at most "100%"',
        ),
        (
            "toml",
            "# mine\nmodel = pets\nversion = 2\n",
            'line 2: not TOML: Invalid value; a text goes in quotes: model = "pets"',
        ),
        (
            "toml",
            'model = "pets"\n[canary]\nbake = 10m # warm\n',
            'statement; a text goes in quotes: bake = "10m"',
        ),
        (
            "toml",
            "model: pets\nversion: 2\n",
            "pair; it looks like YAML, and a file of YAML ends in .yaml",
        ),
        (
            "yaml",
            'model = "pets"\nversion = 2\n',
            "such as model: pets; it looks like TOML, and a file of TOML ends in .toml",
        ),
        (
            "yaml",
            'model: pets\nversion: 2\n[[waves]]\nname = "all"\n',
            "it looks like TOML, and a file of TOML ends in .toml",
        ),
        ("yaml", "model: pets\nversion: 2\nwaves:\n- name: a\n- name: a\n", "line 5: waves[1].name: another wave is"),
        ("yaml", "model: pets\nversion: 2\nwaves:\n- name: a\n- take: 1\n", "line 5: waves[1].name: missing, expected"),
        (
            "yaml",
            "model: pets\nversion: 2\nwaves:\n  - name: a\n    sites: tier=\n    take: 1/2\n",
            "line 6: waves[0].take: found '1/2', expected a number of sites such as 3",
        ),
        (
            "yaml",
            "model: pets\nversion: 2\nwaves:\n  - name: a\n    sites: tier edge\n",
            "line 5: waves[0].sites: selector 'tier edge': cannot understand 'edge'; expected requirements such as",
        ),
        (
            "yaml",
            LEAST + "gates:\n  errors: {margin: 150%}\n",
            "line 5: gates.errors.margin: found '150%', expected a share such as \"1%\" or 0.01",
        ),
        ("yaml", LEAST + "gates:\n  errors: {margin: 0}\n", "line 5: gates.errors: a margin of 0 leaves nothing"),
        (
            "yaml",
            LEAST + "gates:\n  errors: 1%\n",
            "line 5: gates.errors: found '1%', expected on, off, or values for margin and confidence",
        ),
        ("yaml", LEAST + "gates:\n  disagreement: on\n", "line 5: gates.disagreement: compares answers to shadowed"),
        ("yaml", LEAST + "gates: {golden: 1}\n", "line 4: gates.golden: found 1, expected true or false"),
        ("yaml", LEAST + "canary: {shares: [10%, 1%]}\n", "line 4: canary.shares: shares 0.1, 0.01: expected rising"),
        ("yaml", LEAST + "canary: {shares: [x]}\n", "line 4: canary.shares[0]: found 'x', expected a share"),
        ("yaml", LEAST + "canary: {bake: soon}\n", "line 4: canary.bake: found 'soon', expected a duration such as"),
        ("yaml", LEAST + "canary: {bake: 1000d}\n", "line 4: canary.bake: found '1000d', expected a duration such as"),
        ("yaml", LEAST + "silent_after: 0\n", "line 4: silent_after: found 0.0, expected a duration"),
        ("yaml", LEAST + "on_failure: rollback\n", "expected roll-back or pause (did you mean 'roll-back'?)"),
        ("yaml", LEAST + "prestage: maybe\n", "line 4: prestage: found 'maybe', expected true or false"),
        ("yaml", LEAST + "version: 3\n", "r.txt, line 4: version is said twice, expected it once"),
        ("yaml", "a: &x 1\nb: *x\n", "r.txt, line 2: not YAML: found the alias *x, expected its value written out"),
        ("yaml", "model: [pets\nversion: 2\n", "r.txt, line 2: not YAML: "),
        ("yaml", "model: pets\n---\nmodel: pets\n", "r.txt, line 2: not YAML: "),
        ("yaml", "model: !!python/none pets\n", "r.txt, line 1: not YAML: could not determine a constructor"),
        ("yaml", "model: 2026-99-99\n", "r.txt, line 1: found '2026-99-99', which is no value; write it in quotes"),
        ("yaml", "model: pets\x00\n", "r.txt, line 1: not YAML: a character that cannot be in it"),
        ("yaml", "? [a]\n: 1\n", "r.txt, line 1: expected a word as key"),
        ("yaml", "- pets\n", "r.txt, line 1: expected keys with values, such as model: pets"),
        ("yaml", "", "r.txt: model: missing"),
        ("yaml", "[" * 5000 + "]" * 5000, "r.txt: nested too deep"),
        ("toml", 'model = "pets"\nversion = = 2\n', "r.txt, line 2: not TOML: Invalid value"),
        ("toml", 'model = "pets"\nversion = [2,\n', "r.txt, line 2: not TOML: "),
        ("toml", FULL_TOML.replace("take = 1", "tak = 1"), "line 11: waves[0].tak: unknown key (did you mean 'take'?)"),
        ("toml", FULL_TOML.replace("at_once = 50", "at_once = -1"), "line 17: waves[1].at_once: found -1, expected a"),
        ("toml", FULL_TOML.replace("quantile = 0.9", "quantile = 0"), "line 26: gates.latency: a quantile of 0 lies"),
        ("toml", FULL_TOML.replace("ratio = 1.5", "ratio = 0.5"), "line 30: gates.latency.ratio: found 0.5, expected"),
        (
            "toml",
            'model = "pets"\nversion = 2\nwaves = [\n  {name = "a"},\n  {name = "b", may_fail = 1.5},\n]\n',
            "r.txt, line 3: waves[1].may_fail: found 1.5, expected a number of sites",
        ),
        (
            "toml",
            "notes = [\n" + "  1,\n" * 300 + "]\n" + FULL_TOML.replace("take = 1", "take = -1"),
            "line 1: notes: unknown key",
        ),
        (
            "toml",
            'model = """\n]pets\n"""\n' + FULL_TOML.partition("\n")[2].replace("take = 1", "take = -1"),
            "line 1: model: found ",
        ),
        (
            "toml",
            FULL_TOML.replace("shares = [", "shares = [ # ]\n").replace("each_for", "each_for_"),
            "line 37: canary.each_for_: unknown key (did you mean 'each_for'?)",
        ),
        ("json", "{}", "found the format 'json', expected toml or yaml"),
        ("toml", "#" * 40000, "r.txt: longer than 32768 bytes"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_would_be_right(form, text, message):
    with pytest.raises(InvalidArgumentError) as caught:
        read_specification(text, form, file="r.txt")

    assert message in caught.value.message


@pytest.mark.parametrize(
    "wave", ['{"name":"a","sites":"tier=edge,us"}', "{name: a, sites: }", "{ name : a }", "\ufeff{name: a}"]
)
def test_braces_are_taken_as_yaml_takes_them(wave):
    text = f"model: pets\nversion: 2\nwaves: [{wave}]\n"
    text = f"\ufeff{text.replace(chr(0xFEFF), '')}" if "\ufeff" in wave else text

    assert read_specification(text, "yaml").waves[0].name == "a"
