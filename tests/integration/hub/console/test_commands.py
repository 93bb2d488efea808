"""`edgewise sites` and `edgewise rollout` as they are typed, against a hub that answers what a test lays out."""

import dataclasses
import json
import ssl
import subprocess
import sys
from types import MappingProxyType

import httpx
import pytest

from edgewise.core.errors import EdgewiseError, FailedPreconditionError, NotFoundError, UnavailableError
from edgewise.hub.console.client import HubClient
from edgewise.hub.console.connection import Connection
from edgewise.hub.console.refusals import unreachable
from edgewise.hub.console.watching import Lines, watch
from support.console_hub import TOKEN
from support.rollout_statuses import NAME, entry, plan, rollout, site, summary

ROLLOUT = f"/api/v1/rollouts/{NAME}"
SPEC = "model: pets\nversion: 2\nwaves: [{name: all}]\n"


def value(of):
    return json.loads(
        json.dumps([dataclasses.asdict(one) for one in of] if isinstance(of, list) else dataclasses.asdict(of))
    )


@pytest.fixture
def spec(tmp_path):
    file = tmp_path / "pets-2.yaml"
    file.write_text(SPEC)
    return file


@pytest.fixture
def posted(hub):
    """Lays an answer out and keeps what was sent to it."""
    kept = []

    def lay(path, answer, method="POST"):
        def take(_query, body):
            kept.append((path, json.loads(body)))
            return answer

        hub.answers[f"{method} {path}"] = take
        return kept

    return lay


# ---- sites


def test_sites_are_listed_by_selector(hub, edgewise):
    asked = []

    def listed(query, _body):
        asked.append(query)
        return value([site()])

    hub.answers["GET /api/v1/sites"] = listed

    code, out, err = edgewise("sites", "list", "--selector", "tier=edge,region in (eu, us)")
    assert (code, err) == (0, "")
    assert "factory-7  edge  online" in out
    assert asked == [{"selector": "tier=edge,region in (eu, us)"}]

    code, out, _ = edgewise("sites", "list", "--json")
    assert code == 0
    assert json.loads(out) == value([site()])
    assert asked[1] == {}


def test_a_site_is_shown(hub, edgewise):
    hub.answers["GET /api/v1/sites/factory 7/ü"] = value(site("factory 7/ü"))

    code, out, _ = edgewise("sites", "show", "factory 7/ü")

    assert code == 0
    assert "site:           factory 7/ü" in out


def test_labels_are_set_and_taken_away(edgewise, posted):
    sent = posted("/api/v1/sites/factory-7", value(site(labels={"region": "us"})), "PATCH")

    assert edgewise("sites", "label", "factory-7", "region=us", "gpu-") == (0, "factory-7: region=us\n", "")
    assert sent == [("/api/v1/sites/factory-7", {"labels": {"region": "us"}, "remove": ["gpu"]})]


def test_an_enrolment_is_one_word_on_standard_output(edgewise, posted):
    sent = posted("/api/v1/enrollments", {"enrollment": "ew1.abc"})

    said = edgewise("sites", "enroll", "factory-8", "--tier", "cloud", "--label", "region=eu", "--expires", "2h")

    assert said == (0, "ew1.abc\n", "")
    assert sent[0][1] == {"site": "factory-8", "tier": "cloud", "labels": {"region": "eu"}, "expires_s": 7200.0}


def test_a_site_is_retired(edgewise, posted):
    sent = posted("/api/v1/sites/factory-7/retire", {})

    assert edgewise("sites", "retire", "factory-7", "--yes") == (0, "factory-7 is retired\n", "")
    assert len(sent) == 1


# ---- rollouts


def test_a_plan_is_shown_and_says_by_its_exit_code_whether_something_stops_it(edgewise, posted, spec):
    sent = posted("/api/v1/rollouts/plan", value(plan()))
    code, out, err = edgewise("rollout", "plan", spec)
    assert (code, err) == (1, "")
    assert "STOPS: 3.0 MB are free on its disk" in out
    assert sent[0][1] == {"specification": SPEC, "format": "yaml"}

    posted("/api/v1/rollouts/plan", value(plan(stops=False)))
    code, out, _ = edgewise("rollout", "plan", spec, "--json")
    assert code == 0
    assert json.loads(out) == value(plan(stops=False))


def test_a_rollout_is_started_after_its_plan_was_shown(edgewise, posted, spec):
    posted("/api/v1/rollouts/plan", value(plan()))
    sent = posted("/api/v1/rollouts", {"name": NAME})

    code, out, err = edgewise("rollout", "start", spec, "--name", NAME, "--yes")

    assert (code, err) == (0, "")
    assert out.startswith("pets 2: 2 sites in 2 waves")
    assert out.endswith(f"{NAME} is started; see it with: edgewise rollout watch {NAME}\n")
    assert sent[-1][1] == {"specification": SPEC, "format": "yaml", "start": True, "name": NAME}


def test_a_few_words_stand_for_a_specification(edgewise, posted):
    posted("/api/v1/rollouts/plan", value(plan()))
    sent = posted("/api/v1/rollouts", {"name": NAME})

    words = [
        "--release",
        "pets/2",
        "--wave",
        "canary:tier=edge",
        "--wave",
        "everyone",
        "--bake",
        "5s",
        "--each-for",
        "0",
    ]
    code, out, _ = edgewise("rollout", "start", "--hold", "--yes", *words)

    assert code == 0
    assert out.endswith(f"{NAME} is made; start it with: edgewise rollout start {NAME}\n")
    asked = sent[-1][1]
    assert (asked["format"], asked["start"]) == ("toml", False)
    from edgewise.protocols.rollout_specification import read_specification

    specification = read_specification(asked["specification"], "toml")
    assert [(wave.name, wave.selector.text) for wave in specification.waves] == [
        ("canary", "tier=edge"),
        ("everyone", ""),
    ]
    assert (specification.canary.bake_s, specification.canary.stage_s) == (5.0, 0.0)


def test_a_rollout_that_was_held_is_started_by_its_name(edgewise, posted):
    sent = posted(f"{ROLLOUT}/start", value(rollout()))

    code, out, _ = edgewise("rollout", "start", NAME, "--yes")

    assert (code, sent) == (0, [(f"{ROLLOUT}/start", {"why": ""})])
    assert out == f"{NAME} is started; see it with: edgewise rollout watch {NAME}\n"


def test_status_of_all_and_of_one(hub, edgewise):
    hub.answers["GET /api/v1/rollouts"] = value([summary()])
    hub.answers[f"GET {ROLLOUT}"] = value(rollout())

    assert "pets-2-k3f9  pets/2   Progressing" in edgewise("rollout", "status")[1]
    assert "wave 1 canary is open" in edgewise("rollout", "status", NAME)[1]
    assert json.loads(edgewise("rollout", "status", NAME, "--json")[1]) == value(rollout())
    assert json.loads(edgewise("rollout", "status", "--json")[1]) == value([summary()])


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort", "undo"])
def test_verbs_carry_their_reason(edgewise, posted, verb):
    sent = posted(f"{ROLLOUT}/{verb}", value(rollout("Paused", why="by ops")))

    yes = ["--yes"] if verb in ("promote", "abort", "undo") else []
    code, out, _ = edgewise("rollout", verb, NAME, "--why", "night shift", *yes)

    assert (code, sent) == (0, [(f"{ROLLOUT}/{verb}", {"why": "night shift"})])
    assert out.startswith(f"{NAME} (pets 2) is Paused: by ops; made by ops")


def test_what_the_hub_refuses_is_said_as_it_says_it(hub, edgewise):
    def refused(_query, _body):
        raise FailedPreconditionError("the rollout is Completed and cannot pause; it can undo")

    hub.answers[f"POST {ROLLOUT}/pause"] = refused

    assert edgewise("rollout", "pause", NAME) == (
        1,
        "",
        "edgewise: the rollout is Completed and cannot pause; it can undo\n",
    )


def test_the_whole_history_is_fetched_page_by_page(hub, edgewise):
    entries = [entry(number) for number in range(1, 2502)]

    def page(query, _body):
        after, limit = int(query["after"]), int(query["limit"])
        return value([each for each in entries if each.number > after][:limit])

    hub.answers[f"GET {ROLLOUT}/history"] = page

    code, out, _ = edgewise("rollout", "history", NAME)

    assert code == 0
    assert len(out.splitlines()) == 2501
    assert out.splitlines()[0].endswith("site factory-7: Staged -> Activating")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rollout", "plan"], "expected SPEC, or --release MODEL/VERSION"),
        (["rollout", "plan", "SPEC", "--release", "pets/2"], "expected SPEC, or --release MODEL/VERSION"),
        (["rollout", "plan", "SPEC", "--wave", "a"], "--wave, --each-for and --bake go with --release"),
        (["rollout", "plan", "x.json"], "x.json: expected a file that ends in .toml, .yaml, .yml"),
        (["rollout", "plan", "gone.yaml"], "gone.yaml cannot be read: No such file"),
        (["rollout", "start", "--release", "pets/2", "--wave", ":tier=edge"], "expected NAME:SELECTOR, such as canary"),
        (["rollout", "start", "--release", "pets/2", "--wave", "a:tier edge"], "cannot understand 'edge'"),
        (
            ["rollout", "start", "--release", "pets/2", "--wave", "a", "--wave", "a"],
            "expected a name for each of its own",
        ),
        (["rollout", "start", "--release", "pets/0"], "found 'pets/0', expected MODEL/VERSION"),
        (["rollout", "start", "--release", "pets/2", "--bake", "soon"], "expected a duration such as"),
        (["rollout", "start", "SPEC", "--hold", "--watch"], "not allowed with argument"),
        (
            ["rollout", "start", NAME, "--yes", "--name", "x"],
            f"{NAME} is the name of a rollout, and --name goes with a new one",
        ),
        (["rollout", "start", NAME, "--yes", "--hold"], "say it without --hold to start it"),
        (
            ["rollout", "start", NAME, "--yes", "--bake", "5m"],
            "--release, --wave, --each-for and --bake go with a new one",
        ),
        (["rollout", "start", "SPEC"], "there is no terminal to ask on, so nothing was done; say --yes"),
        (["rollout", "start", "--hold", "SPEC"], "say --yes"),
        (["rollout", "start", NAME], "say --yes"),
        (["rollout", "promote", NAME], "say --yes"),
        (["rollout", "abort", NAME], "say --yes"),
        (["rollout", "undo", NAME], "say --yes"),
        (["sites", "retire", "factory-7"], "say --yes"),
        (["rollout", "pause"], "the following arguments are required: NAME"),
        (["rollout", "fly"], "invalid choice: 'fly'"),
        (["sites", "list", "--selector", "tier edge"], "argument --selector: selector 'tier edge': cannot understand"),
        (
            ["sites", "label", "factory-7", "region"],
            "expected KEY=VALUE, such as region=yes, region= for a label without a value, or region- to take it away",
        ),
        (["sites", "label", "factory-7", "a b=c"], "label key 'a b': expected at most 63 letters"),
        (["sites", "enroll", "x", "--tier", "fog"], "invalid choice: 'fog'"),
        (["sites", "enroll", "x", "--expires", "never"], "expected a duration such as"),
    ],
)
def test_wrong_arguments_are_named_with_what_would_be_right(hub, edgewise, spec, words, message):
    code, out, err = edgewise(*(spec if word == "SPEC" else word for word in words))

    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert hub.asked == []


def test_a_wrong_specification_is_refused_before_anything_is_sent(hub, edgewise, spec):
    spec.write_text("model: pets\nversion: 2\nwaves:\n  - name: all\n    take: 1/2\n")

    code, out, err = edgewise("rollout", "start", spec)

    assert (code, out) == (2, "")
    assert f"{spec}, line 5: waves[0].take: found '1/2', expected a number of sites such as 3" in err
    assert hub.asked == []


# ---- watching


class Screen:
    def __init__(self):
        self.states, self.moves, self.notices = [], [], []

    def show(self, status, moves):
        self.states.append(status.state)
        self.moves += [move.number for move in moves]

    def notice(self, text):
        if text:
            self.notices.append(text)


NO_MOVES = MappingProxyType({})


@pytest.fixture
def course(hub):
    """A rollout that is one status further with each poll that waits; an error in the course is raised.

    What moved are sites, but for `moves`, by their numbers.
    """

    def lay(*statuses, moves=NO_MOVES):
        left = list(statuses)

        def status(query, _body):
            if "after" in query:
                assert query["after"] == str(left[0].revision)
                left.pop(0)
                if isinstance(left[0], Exception):
                    raise left.pop(0)
            return value(left[0])

        hub.answers[f"GET {ROLLOUT}"] = status
        hub.answers[f"GET {ROLLOUT}/history"] = lambda query, _body: value(
            [
                moves.get(number, entry(number))
                for number in range(1, left[0].revision + 1)
                if number > int(query["after"])
            ]
        )

    return lay


@pytest.mark.parametrize(("end", "code"), [("Completed", 0), ("RolledBack", 1), ("Failed", 1), ("Paused", 3)])
def test_watching_ends_with_the_rollout_and_every_move_is_told_once(client, course, end, code):
    course(rollout("Planned", revision=1), rollout("Progressing", revision=2), rollout(end, revision=4))
    screen = Screen()

    assert watch(client, NAME, screen) == code
    assert screen.states == ["Planned", "Progressing", end]
    assert screen.moves == [1, 2, 3, 4]


UNDONE = MappingProxyType({2: entry(2, "rollout", NAME, "Completed", "Aborting", "undo by hand")})
ABORTED = MappingProxyType({2: entry(2, "rollout", NAME, "Progressing", "Aborting", "abort by hand")})


@pytest.mark.parametrize(
    ("moves", "states", "code"),
    [
        (UNDONE, ["Aborting", "RolledBack"], 0),
        (UNDONE, ["RolledBack"], 0),
        (UNDONE, ["Aborting", "Failed"], 1),
        (ABORTED, ["Aborting", "RolledBack"], 1),
    ],
)
def test_whoever_begins_to_watch_after_an_undo_waits_for_the_way_back(client, course, moves, states, code):
    course(*(rollout(state, revision=number) for number, state in enumerate(states, start=2)), moves=moves)
    assert watch(client, NAME, Screen()) == code


def test_whoever_began_before_the_undo_waited_for_the_rollout(client, course):
    course(rollout(revision=1), rollout("Aborting", revision=2), rollout("RolledBack", revision=3), moves=UNDONE)
    assert watch(client, NAME, Screen()) == 1


@pytest.mark.parametrize("verb", ["abort", "undo"])
@pytest.mark.parametrize(("end", "code"), [("RolledBack", 0), ("Failed", 1)])
def test_a_way_back_that_was_asked_for_is_watched_to_its_end(edgewise, posted, course, verb, end, code):
    sent = posted(f"{ROLLOUT}/{verb}", value(rollout("Aborting", revision=2)))
    course(rollout("Aborting", revision=2), rollout(end, revision=3), moves=ABORTED)

    ended, out, err = edgewise("rollout", verb, NAME, "--yes", "--watch")

    assert (ended, err) == (code, "")
    assert sent == [(f"{ROLLOUT}/{verb}", {"why": ""})]
    assert out.startswith(f"{NAME} (pets 2) is Aborting")
    assert "Progressing -> Aborting (abort by hand)" in out


def test_a_hub_that_is_away_is_waited_for(hub, client):
    answers = [
        rollout(revision=1),
        UnavailableError("the hub is about to stop."),
        UnavailableError("the hub is about to stop."),
        rollout(revision=2),
        UnavailableError("the hub is about to stop."),
        rollout("Completed", revision=3),
    ]

    def status(_query, _body):
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return value(found)

    hub.answers[f"GET {ROLLOUT}"] = status
    hub.answers[f"GET {ROLLOUT}/history"] = []
    screen, pauses = Screen(), []

    assert watch(client, NAME, screen, sleep=pauses.append) == 0
    assert screen.notices == ["the hub is about to stop. Trying again."] * 3
    assert pauses == [1.0, 2.0, 1.0]


def test_what_is_not_there_is_not_waited_for(client):
    with pytest.raises(NotFoundError, match="there is no"):
        watch(client, NAME, Screen())


def test_without_a_terminal_lines_say_what_moved(edgewise, course):
    course(rollout(revision=1), rollout("Paused", revision=2, why="thin data"))

    code, out, _ = edgewise("rollout", "watch", NAME)

    assert code == 3
    assert [line.split("UTC  ")[-1] for line in out.splitlines()[1:]] == ["site factory-7: Staged -> Activating"] * 2
    assert out.splitlines()[0].startswith(f"{NAME} (pets 2) is Progressing: started by ops")


def test_lines_begin_with_the_rollout_itself():
    said = []
    lines = Lines(said.append)
    lines.show(rollout(), [])
    lines.notice("away")
    lines.notice("")
    lines.show(rollout(), [entry(1, kind="wave", subject="canary", before="", after="passed", why="proven")])

    assert said[0].startswith(NAME)
    assert said[1] == "away"
    assert said[2].endswith("wave canary: passed (proven)")


# ---- the connection


def test_a_hub_that_is_away_is_named_with_what_to_do(edgewise, monkeypatch):
    monkeypatch.setenv("EDGEWISE_HUB", "http://127.0.0.1:9")

    assert edgewise("sites", "list") == (
        1,
        "",
        "edgewise: the hub http://127.0.0.1:9 cannot be reached; is it running, and is the address right (--hub, EDGEWISE_HUB)?\n",
    )


def test_a_hub_without_tls_is_told_from_one_whose_certificate_is_not_trusted(hub, edgewise, monkeypatch, tmp_path):
    url = hub.url.replace("http:", "https:")
    monkeypatch.setenv("EDGEWISE_HUB", url)
    said = f"edgewise: the hub {url} answers, but not in TLS, which https:// asks for; is it one that is reached with http://?\n"

    assert edgewise("sites", "list") == (1, "", said)


def test_the_errors_of_tls_are_told_apart():
    def told(cause, url="https://hub"):
        error = httpx.ConnectError("x")
        error.__cause__ = cause
        return unreachable(url, error).message

    untrusted, old = ssl.SSLCertVerificationError(1, "x"), ssl.SSLError(1, "x")
    old.reason = "TLSV1_ALERT_PROTOCOL_VERSION"
    assert "not trusted here; say --ca FILE" in told(untrusted)
    assert "no way to speak TLS with one another (TLSV1_ALERT_PROTOCOL_VERSION)" in told(old)
    assert "cannot be reached" in told(OSError())
    assert "reached with https://?" in unreachable("http://hub", httpx.RemoteProtocolError("x")).message


@pytest.mark.parametrize(
    ("status", "means"), [(404, "may be no hub of Edgewise"), (502, "a hub that is away, or no hub")]
)
def test_an_answer_that_is_no_hubs_names_the_address(status, means):
    transport = httpx.MockTransport(lambda _: httpx.Response(status, stream=httpx.ByteStream(b"<html>")))
    with (
        HubClient(Connection("http://hub:8600", TOKEN), transport=transport) as client,
        pytest.raises(EdgewiseError) as raised,
    ):
        client.sites()

    assert f"what answers at http://hub:8600 gives HTTP status {status}" in raised.value.message
    assert means in raised.value.message
    assert "EDGEWISE_HUB" in raised.value.message


def test_a_wrong_token_is_named_with_where_it_came_from(edgewise, monkeypatch):
    monkeypatch.setenv("EDGEWISE_HUB_TOKEN", "wrong")

    code, _, err = edgewise("sites", "list")

    assert code == 1
    assert (
        "the token is unknown (the token is that of --token-file, EDGEWISE_HUB_TOKEN or the configuration file)" in err
    )


@pytest.mark.parametrize("answer", [b"<html>", b"[1", b'"a"', b"", b"[" * 100_000])
def test_something_else_than_a_hub_is_said_to_be_none(hub, edgewise, answer):
    hub.answers["GET /api/v1/rollouts"] = answer

    code, out, err = edgewise("rollout", "status")

    assert (code, out) == (1, "")
    assert "hub" in err
    assert "Traceback" not in err


def test_an_answer_without_end_is_refused(hub, monkeypatch):
    monkeypatch.setattr("edgewise.hub.console.client.MAX_ANSWER_BYTES", 1000)
    hub.answers["GET /api/v1/rollouts"] = b" " * 2000
    with (
        HubClient(Connection(hub.url, TOKEN)) as client,
        pytest.raises(FailedPreconditionError, match="is longer than 1000 bytes"),
    ):
        client.rollouts()


def test_the_operators_commands_need_no_server(tmp_path):
    """They come with the agent, without the hub's web framework and database."""
    code = (
        "import sys\n"
        "from edgewise.hub.console import client, exporting, live_view, plan_text, publishing, releases_text, rollout_text,"
        " sites_text, specification_file, verifying, watching\n"
        "print(sorted({'sqlalchemy', 'alembic', 'fastapi', 'starlette', 'jinja2', 'uvicorn', 'obstore'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ran.stdout, ran.stderr) == ("[]\n", "")
