import asyncio

import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.versions import ServedModelConfig, ServerConfig
from edgewise.model_server.versions.config_file import MAX_BYTES, ConfigFile


def parse(text, file):
    """`NAME...`: a config of those models."""
    if "?" in text:
        raise InvalidArgumentError(f"{file}:1: what is '?'")
    return ServerConfig(tuple(ServedModelConfig(name, name) for name in text.split()))


class FakeRepository:
    def __init__(self):
        self.config = None
        self.reloads = []
        self.refusal = None
        self.reloaded = asyncio.Event()

    async def take_over(self, config):
        self.reloaded.set()
        self.reloads.append([model.name for model in config.models])
        if self.refusal is not None:
            raise self.refusal
        self.config = config


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "models.config"
    path.write_text("a b")
    return path


@pytest.fixture
def file(path):
    return ConfigFile(path, parse, poll_interval_s=0.01)


def polled(file, repository, times=1):
    async def body():
        for _ in range(times):
            await file.poll(repository)

    asyncio.run(body())
    return repository.reloads


def test_file_is_read(file):
    assert [model.name for model in file.read().models] == ["a", "b"]


def test_only_what_is_new_is_loaded(file, path):
    file.read()
    assert polled(file, FakeRepository(), 3) == []
    path.write_text("a c")
    assert polled(file, FakeRepository(), 3) == [["a", "c"]]


def test_mistake_changes_nothing_until_it_is_mended(file, path, caplog):
    file.read()
    path.write_text("a ?")
    repository = FakeRepository()
    assert polled(file, repository, 3) == []
    assert [record.getMessage() for record in caplog.records] == [
        "models.config is not in force: models.config:1: what is '?'"
    ]
    path.write_text("a")
    assert polled(file, repository, 2) == [["a"]]


def test_refused_config_is_offered_again(file, path):
    file.read()
    path.write_text("a")
    repository = FakeRepository()
    repository.refusal = FailedPreconditionError("the label's version does not answer yet")
    assert polled(file, repository, 2) == [["a"], ["a"]]
    repository.refusal = None
    assert polled(file, repository, 2) == [["a"]] * 3


def test_missing_file_keeps_what_is_served(file, path, caplog):
    file.read()
    path.unlink()
    assert polled(file, FakeRepository(), 2) == []
    assert caplog.messages == [f"models.config is not in force: {path} cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "models.config is not UTF-8 text: invalid start byte"), (None, "has more than")],
)
def test_file_that_is_no_config(file, path, content, message):
    path.write_bytes(content if content is not None else b" " * (MAX_BYTES + 1))
    with pytest.raises(FailedPreconditionError) as caught:
        file.read()
    assert message in caught.value.message


def test_following_notices_a_change(file, path):
    file.read()

    async def body():
        repository = FakeRepository()
        follower = asyncio.create_task(file.follow(repository))
        path.write_text("c")
        await repository.reloaded.wait()
        follower.cancel()
        assert repository.reloads == [["c"]]

    asyncio.run(body())


def test_following_ends_at_once_when_the_file_is_read_once_only(path):
    asyncio.run(ConfigFile(path, parse, poll_interval_s=0).follow(FakeRepository()))
