import io
import json
import tomllib
from pathlib import Path

import doggy_door
import pytest
from doggy_door.asking import Answer
from doggy_door.door import Door, Rules, Seen
from doggy_door.journal import Journal
from doggy_door.naming import OwnNames
from doggy_door.settings import Settings, api_key, parse, read_settings, usual_document

from edgewise.core.errors import InvalidArgumentError

FOLDER = Path(doggy_door.__file__).parent


def test_the_file_beside_the_program_says_what_is_usual():
    document = tomllib.loads((FOLDER / "door.toml").read_text())
    assert document == usual_document()
    assert read_settings("door.toml", document) == read_settings("x", {}) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gatway = 'x'", r"door.toml: gatway: unknown key \(did you mean 'gateway'\?\)"),
        ("model = 3", "door.toml: model: found 3, expected a text"),
        ("route = 'edge'", "door.toml: route: found 'edge', expected one of '', 'prefer-edge', 'edge-only'"),
        ("deadline_ms = 5", r"door.toml: deadline_ms: found 5, expected a whole number in 10..10000"),
        ("[door]\nneeded = 1", "door.toml: door.needed: needed is 1 of 5 pictures; it must be 2 at least"),
        ("[door]\nveto_s = 0", "door.toml: door.veto_s: found 0, expected a number in 0.1..3600"),
        ("[confidence]\ncat = 0", "door.toml: confidence.cat: found 0, expected a number in 0.001..1"),
        ("lock = 'file'", r"door.toml: lock: found 'file', expected a table \[lock\]"),
        ("labels = 'cat'", r"door.toml: labels: found 'cat', expected a table \[labels\]"),
        ("[labels]\ncat = 'chat'", "door.toml: labels.cat: found 'chat', expected a list of texts"),
        ("[labels]\ncat = ['chat', ' ']", r"door.toml: labels.cat\[1\]: found ' ', expected a label of the model's"),
        ("[lock]\nkind = 'gpio'", "door.toml: lock.kind: found 'gpio', expected one of 'terminal', 'dry', 'file'"),
        ("[lock]\nkind = 'file'", "door.toml: lock.file: missing, expected the file that the lock follows"),
        ("[lock]\nfile = '/x'", "door.toml: lock.kind: missing, expected 'file', so that the file is used"),
        ("needed = 3", r"door.toml: needed: unknown key \(it belongs into \[door\]\); allowed: gateway, "),
        ("neded = 3", r"door.toml: neded: unknown key \(did you mean 'needed' in \[door\]\?\)"),
        (f"source = '{'x' * 129}'", "door.toml: source: found 'x.*expected at most 128 printable ASCII characters"),
        ("source = 'tür'", "door.toml: source: found 'tür', expected at most 128"),
        ("[lock]\nopen = '0'", "door.toml: lock.shut: found '0', expected something else than what opens"),
        ("deadline_ms = 1400", "door.toml: door.silent_s: found 1.5, which is no more than one picture may take"),
        ("[lock]\nheartbeat_s = 0.5", "door.toml: lock.heartbeat_s: found 0.5"),
        ("a = = 1", "door.toml is no TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    Path("door.toml").write_text(text)
    with pytest.raises(InvalidArgumentError, match=message):
        parse(["--folder", "x", "--settings", "door.toml"])


def test_the_command_line_goes_first(tmp_path):
    path = tmp_path / "door.toml"
    path.write_text(
        "model = 'mine'\nfps = 2\n[lock]\nkind = 'dry'\nheartbeat_s = 5\n[labels]\ndog = ['chien']\ncat = ['minet']"
    )
    words = ["--watch", "in", "--settings", str(path), "--fps", "10", "--lock-file", "/x", "--log", "", "--plain"]
    words += ["--cat-label", "chat", "--cat-label", "matou"]
    wanted = parse(words)
    settings = wanted.settings
    assert (wanted.kind, wanted.place, wanted.is_plain) == ("watch", "in", True)
    assert (settings.model, settings.fps, settings.log) == ("mine", 10, "")
    assert settings.names == OwnNames(dog=("chien",), cat=("chat", "matou"))
    assert (settings.lock.kind, settings.lock.file, settings.lock.heartbeat_s) == ("file", "/x", 5)


def test_a_lock_of_the_settings_may_be_tried_out_without_moving_it(tmp_path):
    path = tmp_path / "door.toml"
    path.write_text(f"source = '{'x' * 128}'\n[lock]\nkind = 'file'\nfile = '/x'")
    assert parse(["--folder", "a", "--settings", str(path), "--lock", "dry"]).settings.lock.kind == "dry"


def test_a_file_for_a_lock_that_follows_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--folder", "a", "--lock", "dry", "--lock-file", "/x"])
    assert "--lock-file goes with --lock file; --lock dry moves no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["--folder", "a", "--camera", "0"], ["--camera", "front"], ["--folder", "a", "--lock", "x"]]
)
def test_wrong_arguments_end_it(words):
    with pytest.raises(SystemExit):
        parse(words)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InvalidArgumentError, match="none.toml cannot be read: No such file"):
        parse(["--folder", "x", "--settings", "none.toml"])
    with pytest.raises(InvalidArgumentError, match="api_key_file none.key cannot be read"):
        api_key(Settings(api_key_file="none.key"))


def test_the_log_says_what_became_of_each_picture_and_of_the_door(tmp_path):
    path, err = tmp_path / "log", io.StringIO()
    journal, door = Journal(path, err), Door(Rules(needed=2), now_s=0.0)
    answer = Answer(Seen.DOG, verdict="dog", dog=0.97, confidence=0.9, site="edge", tier="edge", version=1, attempts=2)
    for now_s in (0.0, 1.0):
        journal.picture(f"{now_s:g}.jpg", answer, door, counted=door.see(Seen.DOG, taken_s=now_s, now_s=now_s))
    journal.picture("2.jpg", Answer(None, missed="nobody there"), door, counted=False)
    door.pass_time(now_s=9.0)
    journal.moment(door)
    journal.moment(door)
    journal.end(door)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("moved") for line in lines] == [None, "open", None, "shut"]
    assert lines[1].items() >= {"seen": "dog", "confidence": 0.9, "site": "edge", "attempts": 2, "door": "open"}.items()
    assert lines[2]["missed"] == "nobody there"
    assert lines[3]["why"] == "nothing was answered for 1.5 s"
    assert journal.counts == {"dog": 2, "missed": 1, "opened": 1, "shut": 1}


def test_a_log_that_grows_is_put_aside_and_one_that_cannot_be_written_is_told_once(tmp_path):
    door, err = Door(Rules(), now_s=0.0), io.StringIO()
    journal = Journal(tmp_path / "log", err, max_bytes=1)
    for name in ("a", "b", "c"):
        journal.picture(name, Answer(None, missed="x"), door, counted=False)
    assert '"frame": "c"' in (tmp_path / "log").read_text()
    assert '"frame": "b"' in (tmp_path / "log.1").read_text()
    journal = Journal(tmp_path / "none" / "log", err)
    for name in ("a", "b"):
        journal.picture(name, Answer(None, missed="x"), door, counted=False)
    assert err.getvalue().count("cannot be written: No such file") == 1
