"""The commands on a terminal: they ask before they act, and draw what moves."""

import dataclasses
import os
import pty
import re
import select
import subprocess
import sys

import pytest

from support.console_hub import TOKEN
from support.rollout_statuses import NAME, entry, plan, rollout

ROLLOUT = f"/api/v1/rollouts/{NAME}"


@pytest.fixture
def terminal(hub):
    """Runs the command on a terminal of its own: exit code, and all that was written there."""

    def run(*words, answers=()):
        ours, theirs = pty.openpty()
        environment = {
            **os.environ,
            "EDGEWISE_HUB": hub.url,
            "EDGEWISE_HUB_TOKEN": TOKEN,
            "XDG_CONFIG_HOME": "/nonexistent",
            "TERM": "xterm-256color",
            "COLUMNS": "160",
            "LINES": "40",
        }
        left, seen = list(answers), ""
        with subprocess.Popen(
            [sys.executable, "-c", "from edgewise.cli import main; raise SystemExit(main())", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
        ) as process:
            os.close(theirs)
            while select.select([ours], [], [], 60)[0]:
                try:
                    seen += os.read(ours, 65536).decode()
                except OSError:
                    break  # the other side is closed
                if left and seen.endswith("[y/N] "):
                    os.write(ours, f"{left.pop(0)}\n".encode())
        os.close(ours)
        return process.returncode, seen

    return run


def value(of):
    return [dataclasses.asdict(one) for one in of] if isinstance(of, list) else dataclasses.asdict(of)


@pytest.fixture
def spec(tmp_path):
    file = tmp_path / "pets-2.yaml"
    file.write_text("model: pets\nversion: 2\nwaves: [{name: all}]\n")
    return file


def test_a_rollout_is_started_only_after_a_yes(hub, terminal, spec):
    hub.answers["POST /api/v1/rollouts/plan"] = value(plan())
    hub.answers["POST /api/v1/rollouts"] = {"name": NAME}

    code, seen = terminal("rollout", "start", spec, answers=["n"])
    assert code == 1
    assert "STOPS: 3.0 MB are free on its disk" in seen
    assert "Start this rollout? [y/N] n\r\nnothing was done" in seen
    assert "POST /api/v1/rollouts" not in hub.asked

    code, seen = terminal("rollout", "start", spec, answers=["y"])
    assert code == 0
    assert f"{NAME} is started" in seen
    assert "POST /api/v1/rollouts" in hub.asked

    hub.asked.clear()
    code, seen = terminal("rollout", "start", spec, "--yes")
    assert code == 0
    assert "[y/N]" not in seen
    assert "POST /api/v1/rollouts" in hub.asked


@pytest.mark.parametrize(
    ("words", "question"),
    [
        (["rollout", "start", NAME], f"Start {NAME}?"),
        (["rollout", "abort", NAME], f"Abort {NAME}?"),
        (["rollout", "undo", NAME], f"Undo {NAME}?"),
        (["rollout", "promote", NAME], f"Promote {NAME}?"),
        (["sites", "retire", "factory-7"], "Let factory-7 go for good?"),
    ],
)
def test_what_cannot_be_taken_back_is_asked_first(hub, terminal, words, question):
    code, seen = terminal(*words, answers=[""])

    assert code == 1
    assert question in seen
    assert "nothing was done" in seen
    assert hub.asked == []


def test_the_end_of_what_is_typed_is_no_yes(hub, terminal):
    code, seen = terminal("rollout", "abort", NAME, answers=["\x04"])

    assert (code, hub.asked) == (1, [])
    assert "nothing was done" in seen
    assert "Traceback" not in seen


def test_a_rollout_is_drawn_as_it_moves(hub, terminal):
    statuses = [
        rollout(revision=1),
        rollout(revision=2, why="second"),
        rollout("Completed", revision=3, why="every wave has passed"),
    ]

    def status(query, _body):
        if "after" in query:
            statuses.pop(0)
        return value(statuses[0])

    hub.answers[f"GET {ROLLOUT}"] = status
    hub.answers[f"GET {ROLLOUT}/history"] = lambda query, _body: value([entry(1)] if query["after"] == "0" else [])

    code, seen = terminal("rollout", "watch", NAME)

    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert f"{NAME} (pets 2) is Completed: every wave has passed" in plain
    assert "wave 1 canary is open" in plain
    assert "site factory-7: Staged -> Activating" in plain
    # Drawn over itself: the cursor goes up.
    assert re.search(r"\x1b\[\d*A", seen)
