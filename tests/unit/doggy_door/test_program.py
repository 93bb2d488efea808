"""What the door says when it comes up, and when it ends."""

import io

import pytest
from doggy_door import program
from doggy_door.program import Stop, run
from doggy_door.settings import parse

from edgewise.client import InvalidArgumentError, NotFoundError


class Client:
    """A gateway that knows no such model, and finds no picture in what it is given."""

    def __init__(self, *_words, **_named):
        self.asked = []

    def metadata(self, model, *, timeout_s):
        self.asked.append((model, timeout_s))
        raise NotFoundError("Servable not found for request: Latest(nomodel).")

    def predict(self, *_words, **_named):
        raise InvalidArgumentError("the image is not a JPEG, PNG or WebP file")

    def close(self):
        """Nothing is held."""


@pytest.fixture
def said(tmp_path, monkeypatch):
    folder, out, err = tmp_path / "in", io.StringIO(), io.StringIO()
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.jpg").write_bytes(b"x")

    def start(*words):
        wanted = parse(["--folder", str(folder), "--plain", "--fps", "60", "--lock", "dry", *words])
        return run(wanted, Stop(), out=out, err=err), out.getvalue(), err.getvalue()

    monkeypatch.setattr(program, "Client", Client)
    return start


def test_a_model_that_nobody_serves_is_told_once_and_the_door_watches_all_the_same(said, tmp_path):
    code, out, err = said("--model", "nomodel", "--gateway", "http://house:8080", "--log", str(tmp_path / "log"))
    assert code == 0
    assert err == (
        "doggy_door: the model nomodel is not served at http://house:8080 as it seems: Servable not found for request: Latest(nomodel); "
        "the door stays shut until it is\n"
    )
    assert out.count("SKIPPED: the image is not a JPEG, PNG or WebP file") == 2
    assert out.endswith("doggy_door: shut; 2 corrupt\n")


def test_a_log_that_cannot_be_written_is_refused_before_the_lock_is_touched(said, tmp_path):
    log = tmp_path / "none" / "x.jsonl"
    with pytest.raises(InvalidArgumentError) as raised:
        said("--log", str(log))
    assert raised.value.message == (
        f'the log {log} cannot be written: No such file or directory; name another with --log, or --log "" for none'
    )


@pytest.mark.parametrize(
    ("counts", "skipped", "text"),
    [
        ({}, 0, "no picture"),
        (
            {"cat": 1, "missed": 2, "opened": 1, "spoiled": 4, "stale": 3},
            0,
            "1 cat, 2 without an answer, 1 opened, 4 corrupt, 3 too old",
        ),
        ({"dog": 1}, 2, "1 dog, 2 not taken (unreadable, too large or the same again)"),
    ],
)
def test_the_summary_has_words(counts, skipped, text):
    assert program._told(counts, skipped) == text
