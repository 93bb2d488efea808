"""Held-out examples asked of two versions, by a model server that says what a test wants."""

import itertools
import shutil
import threading
from dataclasses import replace

import pytest

from edgewise.agent.site import examining
from edgewise.agent.site.examining import ModelExaminer
from edgewise.agent.site.port import Comparison
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from edgewise.core.rollout.alike import Alike
from edgewise.core.rollout.paired import Paired
from edgewise.protocols.heldout import Example, Heldout, heldout_bytes, read_heldout
from support.waiting import wait_for

JPEG = b"\xff\xd8\xff"


class Server:
    """Versions by what they say to each picture; what is not there cannot be answered."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.away = 0

    def answer(self, model, version, picture, media_type, output):
        if self.away:
            self.away -= 1
            raise UnavailableError("it answered 503")
        self.asked.append((model, version, media_type, output))
        return self.answers[f"v{version}"].get(picture[len(JPEG) :].decode(), "")


@pytest.fixture
def models(tmp_path):
    """Four pictures, of which the last is the first once more."""
    folder = tmp_path / "pets" / "2" / "heldout"
    folder.mkdir(parents=True)
    (tmp_path / "pets" / "1").mkdir()
    for version in ("1", "2"):
        (tmp_path / "pets" / version / "model.onnx").write_bytes(version.encode())
    pictures = {"a.jpg": "a", "b.jpg": "b", "c.jpg": "c", "d.jpg": "a"}
    for name, content in pictures.items():
        (folder / name).write_bytes(JPEG + content.encode())
    labels = {"a": "dog", "b": "cat", "c": "cat"}
    examples = tuple(Example(name, labels[content]) for name, content in pictures.items())
    (folder / "heldout.json").write_bytes(heldout_bytes(Heldout(examples)))
    return tmp_path


def stated(models, **sources):
    """Say of which source pictures are."""
    path = models / "pets" / "2" / "heldout" / "heldout.json"
    examples = read_heldout(path.read_bytes()).examples
    path.write_bytes(
        heldout_bytes(Heldout(tuple(replace(one, source=sources.get(one.file[0], "")) for one in examples)))
    )


def examiner(models, server, clock=None):
    now_s = iter(clock or itertools.count()).__next__
    return ModelExaminer(models, server, pause=lambda *_: None, now_s=now_s)


def test_both_versions_answer_each_picture_once(models):
    server = Server(v1={"a": "dog", "b": "dog", "c": "dog"}, v2={"a": "other", "b": "cat"})
    paired = examiner(models, server).paired("r", "pets", 1, 2)
    assert paired == Paired(paired.of, count=3, both=1, lost=1, gained=1)
    assert server.asked == [("pets", version, "image/jpeg", "verdict") for _ in range(3) for version in (1, 2)]
    # Another site with the same files has made the same comparison, and with others another one.
    assert examiner(models, server).paired("other", "pets", 1, 2).of == paired.of
    (models / "pets" / "1" / "model.onnx").write_bytes(b"else")
    assert examiner(models, server).paired("r", "pets", 1, 2).of != paired.of


def test_pictures_of_one_source_are_counted_together_and_others_by_themselves(models):
    server = Server(v1={"a": "dog", "b": "dog", "c": "dog"}, v2={"a": "other", "b": "cat"})
    stated(models, a="1", b="1")
    assert examiner(models, server).paired("r", "pets", 1, 2).rows == (Alike(1, 1, 0, 0), Alike(1, 2, 1, 1))
    stated(models, a="1", b="2")
    assert examiner(models, server).paired("r", "pets", 1, 2).rows == ()


def test_a_model_server_that_is_started_anew_is_waited_for_and_one_that_stays_away_is_not(models):
    server = Server(v1={}, v2={})
    server.away = 5
    assert examiner(models, server).paired("r", "pets", 1, 2).both == 3
    server.away = 10**6
    with pytest.raises(UnavailableError, match="version 1 of pets does not answer: it answered 503"):
        examiner(models, server).paired("r", "pets", 1, 2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "the release carries none; expected heldout/heldout.json in it"),
        (lambda folder: (folder / "b.jpg").unlink(), "heldout/b.jpg cannot be read: No such file"),
        (
            lambda folder: (folder / "b.jpg").write_bytes(b"GIF"),
            "heldout/b.jpg is no JPEG, PNG or WebP file of at most",
        ),
        (lambda folder: (folder / "heldout.json").write_bytes(b"{"), "heldout/heldout.json is not JSON"),
    ],
)
def test_examples_that_cannot_be_asked_are_a_problem_that_says_so(models, spoil, message):
    spoil(models / "pets" / "2" / "heldout")
    at_work = examiner(models, Server(v1={}, v2={}))
    with pytest.raises((FailedPreconditionError, InvalidArgumentError), match=message):
        at_work.paired("r", "pets", 1, 2)
    at_work.compare("r", "pets", 1, 2)
    problem = wait_for(lambda: at_work.look("r", "pets").problem)
    assert problem.startswith(f"held-out examples: {message.split(';')[0]}")
    # Another rollout is another question.
    assert at_work.look("s", "pets").problem == ""


def test_it_returns_at_once_and_asks_once(models, monkeypatch):
    server = Server(v1={}, v2={"a": "dog"})
    at_work = examiner(models, server)
    for _ in range(3):
        at_work.compare("r", "pets", 1, 2)
    paired = wait_for(lambda: at_work.look("r", "pets").paired)
    assert (paired.gained, paired.both) == (1, 2)
    at_work.compare("r", "pets", 1, 2)
    assert len(server.asked) == 6
    monkeypatch.setattr(examining, "digest_of_path", lambda _: 1 / 0)
    at_work.compare("s", "pets", 1, 2)
    assert wait_for(lambda: at_work.look("s", "pets").problem) == (
        "held-out examples: a fault of the agent, whose log says more"
    )


class SlowServer(Server):
    """Answers of version 2 take until a test lets them through; those of version 3 do not."""

    def __init__(self):
        super().__init__(v1={}, v2={}, v3={})
        self.is_asked, self.may_answer = threading.Event(), threading.Event()

    def answer(self, model, version, picture, media_type, output):
        if version == 2:
            self.is_asked.set()
            assert self.may_answer.wait(30)
        return super().answer(model, version, picture, media_type, output)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "examining"]


def test_the_next_rollouts_comparison_ends_the_one_before(models):
    shutil.copytree(models / "pets" / "2", models / "pets" / "3")
    server = SlowServer()
    at_work = examiner(models, server)
    at_work.compare("r", "pets", 1, 2)
    assert server.is_asked.wait(30)
    at_work.compare("s", "pets", 1, 3)
    assert wait_for(lambda: at_work.look("s", "pets").paired).count == 3
    server.may_answer.set()
    wait_for(lambda: not threads())
    # It was in the midst of its first picture.
    assert [version for _, version, _, _ in server.asked].count(2) == 1
    assert at_work.look("s", "pets").paired is not None


def test_a_comparison_that_nobody_waits_for_is_ended_and_may_be_begun_anew(models):
    server = Server(v1={}, v2={})
    server.away = 10**6
    at_work = ModelExaminer(models, server, pause=lambda ended, seconds: seconds and ended.wait(30), now_s=lambda: 0.0)
    at_work.end("r", "pets")
    at_work.compare("r", "pets", 1, 2)
    wait_for(lambda: server.away < 10**6)
    # Of another rollout, or model.
    at_work.end("s", "pets")
    at_work.end("r", "zoo")
    (thread,) = threads()
    assert thread.is_alive()
    at_work.end("r", "pets")
    thread.join(10)
    assert not thread.is_alive()
    assert at_work.look("r", "pets") == Comparison()
    server.away = 0
    at_work.compare("r", "pets", 1, 2)
    assert wait_for(lambda: at_work.look("r", "pets").paired).count == 3


def test_a_comparison_that_waits_for_its_model_server_is_ended_at_once(models):
    server = Server(v1={}, v2={})
    server.away = 10**6
    at_work = ModelExaminer(models, server, pause=lambda ended, seconds: seconds and ended.wait(30), now_s=lambda: 0.0)
    at_work.compare("r", "pets", 1, 2)
    wait_for(lambda: server.away < 10**6)
    old = threads()
    at_work.compare("s", "pets", 1, 2)
    for thread in old:
        thread.join(10)
        assert not thread.is_alive()
    server.away = 0
    at_work.compare("t", "pets", 1, 2)
    wait_for(lambda: at_work.look("t", "pets").paired)
