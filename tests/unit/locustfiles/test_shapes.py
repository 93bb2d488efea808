"""Load shapes, in a process of their own: locust patches the one that imports it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOCUSTFILES = Path(__file__).parents[3] / "loadtests" / "locustfiles"

PROGRAM = """
import json, sys, types
import shapes
found = {}
for words, engine, run_time, users in json.loads(sys.argv[1]):
    shape = shapes.shape_of(words)
    options = types.SimpleNamespace(shape=words, engine=engine, run_time=run_time, num_users=users)
    environment = types.SimpleNamespace(parsed_options=options)
    shape.runner = types.SimpleNamespace(environment=environment)
    now = [0.0]
    shape.get_run_time = lambda: now[0]
    ticks = []
    for now[0] in range(13):
        tick = shape.tick()
        ticks.append(tick and tick[0])
    found[f"{words} {engine}"] = [type(shape).__name__, ticks]
usual = shapes.Spike()
usual.runner = types.SimpleNamespace(environment=types.SimpleNamespace(parsed_options=types.SimpleNamespace(shape="")))
found["usual"] = usual.shape().text
untold = shapes.Trace()
options = types.SimpleNamespace(shape="", engine="open", run_time=5, num_users=1)
untold.runner = types.SimpleNamespace(environment=types.SimpleNamespace(parsed_options=options))
found["untold"] = untold.tick()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    trace = tmp_path_factory.mktemp("trace") / "load.csv"
    trace.write_text("offset_s,factor\n0,0.5\n6,0.5\n6,2\n12,2\n")
    asked = [
        ("steps 0.5,1,2", "open", 12, 10),
        ("ramp 0..1", "closed", 10, 100),
        ("spike 3x at 50% for 25%", "open", 12, 10),
        ("day 0..1", "open", 12, 100),
        (f"custom {trace}", "open", 12, 10),
        ("constant", "open", 5, 7),
        ("steps 1,2", "both", 12, 10),
    ]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(asked)],
        capture_output=True,
        text=True,
        cwd=LOCUSTFILES,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout) | {"trace": str(trace)}


def test_users_follow_the_words_until_the_run_time_is_over(found):
    assert found["steps 0.5,1,2 open"] == ["Steps", [5, 5, 5, 5, 10, 10, 10, 10, 20, 20, 20, 20, None]]
    assert found["ramp 0..1 closed"] == ["Ramp", [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, None, None, None]]
    assert found["spike 3x at 50% for 25% open"] == ["Spike", [10] * 6 + [30] * 3 + [10] * 3 + [None]]
    assert found["constant open"] == ["Constant", [7] * 5 + [None] * 8]
    name, day = found["day 0..1 open"]
    assert name == "Day"
    assert day[0] == 0
    assert day[6] == 100
    assert day[1:6] == sorted(day[1:6])


def test_a_recorded_load_is_read_from_a_file(found):
    assert found[f"custom {found['trace']} open"] == ["Trace", [5] * 6 + [20] * 6 + [None]]


def test_both_engines_get_the_whole_shape_in_their_half(found):
    assert found["steps 1,2 both"] == ["Steps", [10, 10, 10, 20, 20, 20] * 2 + [None]]


def test_a_picked_shape_has_usual_words_and_a_trace_without_a_file_ends_the_test(found):
    assert found["usual"] == "spike 3x at 40% for 10%"
    assert found["untold"] is None
