"""What people read: every fact that they need is there, and nothing that a terminal would obey."""

import dataclasses
import re

import pytest

from edgewise.core.rollout.reports import Inventory, SampleBacklog
from edgewise.hub.console.plan_text import has_stops, plan_text, short_plan_text
from edgewise.hub.console.rollout_text import history_line, rollout_text, rollouts_text
from edgewise.hub.console.sites_text import site_text, sites_text
from edgewise.hub.console.text_tables import columns, printable
from support.rollout_statuses import NOW_S, entry, plan, rollout, site, site_of, summary, wave_of


def test_columns_are_as_wide_as_their_widest_word():
    assert columns([("A", "LONG HEAD", "C"), ("word", "x", "")], indent="> ") == ["> A     LONG HEAD  C", "> word  x"]


def test_what_a_terminal_would_obey_is_not_printed():
    assert printable("ok \x1b[2J\r\n\u202e x") == "ok �[2J���\u0020x".replace("\u0020x", " x")
    hostile = "\x1b]0;owned\x07"
    status = rollout(sites=(site_of("factory-7", "Failed", why=hostile),), why=hostile)
    for text in (
        rollout_text(status, NOW_S),
        sites_text([site(labels={"a": hostile})], NOW_S),
        site_text(site(labels={"a": hostile}, inventory=Inventory(agent=hostile)), NOW_S),
        history_line(entry(1, why=hostile)),
        rollouts_text([dataclasses.replace(summary(), why=hostile)], NOW_S),
    ):
        assert "\x1b" not in text
        assert "\x07" not in text


def test_a_plan_says_what_each_site_would_do_and_what_would_stop_it():
    assert plan_text(plan()).splitlines() == [
        "pets 2: 2 sites in 2 waves, 15.4 MB to fetch, at least 36 min",
        "",
        "wave 1 canary (tier=edge): 1 site, 1 at once, none may fail, at least 12 min",
        "  SITE       TIER  RUNS  VARIANT  FETCHES            TAKES",
        "  factory-7  edge  1     edge     1.4 MB of 14.0 MB  12 s",
        "    STOPS: 3.0 MB are free on its disk, and 14 MB are needed",
        "",
        "wave 2 everyone (every site): 1 site, 1 at once, 2 may fail, at least 24 min",
        "  SITE       TIER  RUNS  VARIANT  FETCHES  TAKES",
        "  factory-8  edge  -     edge     14.0 MB  ?",
        "    LATER: it is offline since 2 h",
        "",
        "in no wave: lab-1",
    ]


def test_a_short_plan_keeps_every_problem():
    lines = short_plan_text(plan()).splitlines()

    assert len(lines) == 5
    assert "    factory-7: STOPS: 3.0 MB are free on its disk, and 14 MB are needed" in lines


def test_whether_something_stops_a_plan():
    assert has_stops(plan())
    assert not has_stops(plan(stops=False))


def test_a_rollout_with_its_waves_gates_and_sites():
    lines = rollout_text(rollout(), NOW_S).splitlines()

    words = [re.sub(r"\s{2,}", " | ", line.strip()) for line in lines]
    rules = "at most 1 site may switch at once, none may fail"
    allowed = "at most 1 % more of the answers are errors than of the old version's"
    assert words == [
        "pets-2-k3f9 (pets 2) is Progressing: started by ops; made by ops 10 min ago, changed 60 s ago",
        "",
        f"wave 1 canary is open, verdict Inconclusive: 0 of 1 site Active, 1 Verifying; {rules}",
        "GATE | VERDICT | NEW LESS OLD | HITS | ALLOWED",
        f"errors | Inconclusive | −0.4 % to +1.2 % | new 3 of 200, old 2 of 190 | {allowed}",
        "SITE | STATE | DOES | HEARD | WHY",
        "factory-7 | Verifying | answers 10 % of the requests | 3 s ago | -",
        "",
        f"wave 2 everyone is waiting: 0 of 1 site Active, 1 Downloading; {rules}",
        "SITE | STATE | DOES | HEARD | WHY",
        "factory-8 | Downloading | 5 bytes of 10.0 MB | 3 s ago | -",
        "",
        "it can be asked to pause, promote, abort",
    ]


@pytest.mark.parametrize(
    ("state", "changes", "begins", "ends"),
    [
        ("Progressing", {"phase": "open"}, "wave 1 canary is open, verdict Inconclusive: ", "none may fail"),
        ("Progressing", {"phase": "passed", "verdict": "Pass"}, "wave 1 canary is passed, verdict Pass: ", "may fail"),
        ("Completed", {"phase": "passed"}, "wave 1 canary is passed, nothing to prove: ", "none may fail"),
        (
            "Completed",
            {"phase": "passed", "promoted": True},
            "wave 1 canary is passed, verdict Inconclusive, promoted: ",
            "none may fail",
        ),
        ("RolledBack", {"phase": "open", "verdict": "Fail"}, "wave 1 canary did not pass, verdict Fail: ", "may fail"),
        ("Aborting", {"phase": "waiting"}, "wave 1 canary did not open: ", "none may fail"),
        (
            "Progressing",
            {"phase": "open", "waits_for": "no site of it is Active: 1 RolledBack"},
            "wave 1 canary is open",
            "none may fail; waits: no site of it is Active: 1 RolledBack",
        ),
    ],
)
def test_a_wave_is_told_as_what_came_of_it(state, changes, begins, ends):
    wave = dataclasses.replace(wave_of(0, "canary", "open", {"RolledBack": 1}), **changes)
    text = rollout_text(rollout(state, waves=(wave, wave_of(1, "everyone", "waiting", {}))), NOW_S)
    [title] = [line for line in text.splitlines() if line.startswith("wave 1")]
    assert title.startswith(begins)
    assert title.endswith(ends)


def test_of_many_sites_the_others_are_counted():
    sites = tuple(site_of(f"site-{number}", "Active") for number in range(100))

    text = rollout_text(rollout(sites=sites), NOW_S)

    hidden = int(re.search(r"and (\d+) more \(--json shows all\)", text)[1])
    assert text.count("Active  ") + hidden == 100


def test_a_list_of_rollouts():
    assert rollouts_text([summary()], NOW_S).splitlines() == [
        "ROLLOUT      RELEASE  STATE        SITES                       CHANGED   WHY",
        "pets-2-k3f9  pets/2   Progressing  1 Downloading, 1 Verifying  60 s ago  started by ops",
    ]
    assert rollouts_text([], NOW_S) == "no rollouts; plan one with: edgewise rollout plan SPEC"


def test_a_list_of_sites():
    sites = [
        site(),
        site("factory-8", online=False, heard_s=NOW_S - 7200.0, labels={}),
        site("new", online=False, heard_s=None, inventory=Inventory()),
        site("old", retired_s=NOW_S),
    ]
    assert sites_text(sites, NOW_S).splitlines() == [
        "SITE       TIER  LINK        HEARD      ANSWERS  LABELS",
        "factory-7  edge  online      3 s ago    pets 1   gpu,region=eu",
        "factory-8  edge  offline     2.0 h ago  pets 1   -",
        "new        edge  never seen  never      -        gpu,region=eu",
        "old        edge  retired     3 s ago    pets 1   gpu,region=eu",
    ]
    assert sites_text([], NOW_S) == "no sites; make one known with: edgewise sites enroll NAME"


def test_one_site():
    assert [
        line.split(":", 1)[0] + ":" + line.split(":", 1)[1].strip() for line in site_text(site(), NOW_S).splitlines()
    ] == [
        "site:factory-7",
        "tier:edge",
        "labels:gpu,region=eu",
        "link:online, heard 3 s ago, reported 12 s ago",
        "enrolled:2026-11-22 10:00:00 UTC",
        "desired state:generation 17, follows 16 so far",
        "answers:pets 1",
        "loaded:pets 1 and 2",
        "rollout:pets-2-k3f9: pets 2, told run, is Verifying",
        "disk free:3.0 MB",
        "bandwidth:1.2 MB/s",
        "clock:7 min behind",
        "runtimes:onnxruntime=1.24.0",
        "agent:0.1.0",
        "pets at edge:120 requests in the last minute, 1 of them errors, p50 8.4 ms, p99 30 ms",
    ]


@pytest.mark.parametrize(
    ("backlog", "said"),
    [
        (SampleBacklog(0, 0, 0), "none"),
        (SampleBacklog(12, 40_000_000, 0), "12 segments, 40.0 MB"),
        (SampleBacklog(12, 40_000_000, 3), "12 segments, 40.0 MB; 3 of them held up: the hub does not take them in"),
    ],
)
def test_the_samples_that_wait_at_a_site(backlog, said):
    lines = site_text(site(inventory=Inventory(samples=backlog)), NOW_S).splitlines()
    assert [line.split(":", 1)[1].strip() for line in lines if line.startswith("samples wait:")] == [said]
