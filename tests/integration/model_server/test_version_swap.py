"""Versions of real ONNX models, exchanged while threads run them."""

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgewise.core.errors import Code, FailedPreconditionError, NotFoundError
from edgewise.core.requests import ModelSpec
from edgewise.core.versions import All, ServedModelConfig, ServerConfig, Specific, VersionState
from edgewise.model_server.building import tiny
from edgewise.model_server.versions.loader import load_version
from edgewise.model_server.versions.repository import Repository
from support.spoiled_versions import expect_another_answer, truncate

BIASES = {1: -1.0, 2: 0.0, 3: 1.0}
LATEST = ModelSpec("tiny")
WAIT_S = 60.0
X = np.ones((1, tiny.INPUT_SIZE), np.float32)


class Servable:
    """What the routes hand out here: the model without a batcher."""

    def __init__(self, name, version, loaded):
        self.name = name
        self.version = version
        self.loaded = loaded
        self.closed = False

    def run(self):
        assert not self.closed
        answer = self.loaded.model.run("serving_default", {"x": X}, ("y",))["y"]
        assert not self.closed, "the model was closed under a run"
        return answer

    async def close(self):
        self.closed = True
        self.loaded.model.close()


def build(directory, version):
    tiny.build(directory, version=version, bias=BIASES[version], scale=0.0)


def answers(version):
    return tiny.answer(X, bias=BIASES[version], scale=0.0)


class Callers:
    """Ask for a model all the time, from several threads, and check every answer."""

    def __init__(self, repository, spec, count=8):
        self.repository = repository
        self.spec = spec
        self.count = count
        self.answered = dict.fromkeys(BIASES, 0)
        self.stopping = False

    async def __aenter__(self):
        self.threads = ThreadPoolExecutor(4)
        self.tasks = [asyncio.create_task(self.call()) for _ in range(self.count)]
        return self

    async def __aexit__(self, *_):
        self.stopping = True
        await asyncio.gather(*self.tasks)
        self.threads.shutdown()

    async def call(self):
        loop = asyncio.get_running_loop()
        while not self.stopping:
            servable = self.repository.acquire(self.spec)
            try:
                (status,) = self.repository.status("tiny", servable.version)
                assert status.state is VersionState.AVAILABLE
                answer = await loop.run_in_executor(self.threads, servable.run)
            finally:
                self.repository.release(servable)
            np.testing.assert_allclose(answer, answers(servable.version), atol=1e-6)
            self.answered[servable.version] += 1

    async def until_answered_by(self, version):
        before = self.answered[version]
        while self.answered[version] <= before:
            for task in self.tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0)


@pytest.fixture
def repository(tmp_path):
    def make(**options):
        options = {"poll_interval_s": 0.02, "settle_s": 0.02, "root": tmp_path, **options}
        return Repository(load_version, Servable, **options)

    return make


def config(policy, **labels):
    return ServerConfig((ServedModelConfig("tiny", "tiny", policy, labels),))


async def serving(repository, *versions):
    await repository.wait_until(lambda: repository.available("tiny") == list(versions), WAIT_S)


def test_versions_switch_by_files_without_a_failed_request(tmp_path, repository):
    async def body():
        served = repository()
        build(tmp_path, 1)
        await served.start(tmp_path)
        await serving(served, 1)
        async with Callers(served, LATEST) as callers:
            await callers.until_answered_by(1)
            for version in (2, 3):
                build(tmp_path, version)
                await serving(served, version)
                await callers.until_answered_by(version)
            for version in (3, 2):
                shutil.rmtree(tmp_path / "tiny" / str(version))
            await serving(served, 1)
            await callers.until_answered_by(1)
        await served.close(WAIT_S)

    asyncio.run(body())


def test_versions_switch_by_reload_without_a_failed_request(tmp_path, repository):
    async def body():
        served = repository(poll_interval_s=0)
        for version in BIASES:
            build(tmp_path, version)
        await served.start(config(Specific((1,))))
        await served.wait_until(served.ready, WAIT_S)
        async with Callers(served, LATEST) as callers:
            for version in (2, 3, 1, 3, 2, 1):
                await served.reload(config(Specific((version,))))
                assert served.available("tiny") == [version]
                await callers.until_answered_by(version)
        await served.close(WAIT_S)

    asyncio.run(body())


def test_versions_switch_by_label_without_a_failed_request(tmp_path, repository):
    async def body():
        served = repository(poll_interval_s=0)
        for version in BIASES:
            build(tmp_path, version)
        await served.start(config(All(), stable=1))
        await served.wait_until(served.ready, WAIT_S)
        async with Callers(served, ModelSpec("tiny", label="stable")) as callers:
            for version in (2, 3, 1):
                await served.reload(config(All(), stable=version))
                await callers.until_answered_by(version)
            with pytest.raises(FailedPreconditionError):
                await served.reload(config(All(), stable=4))
            await callers.until_answered_by(1)
        await served.close(WAIT_S)

    asyncio.run(body())


def say_nonsense(directory):
    (directory / "model.toml").write_text("backend = 'abacus'\n")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncate, "model.onnx"),
        (expect_another_answer, "golden input 'golden.npy': 'y' begins with [0.5, 0.5], expected [0.25, 0.75]"),
        (say_nonsense, "abacus"),
    ],
)
def test_bad_version_leaves_the_old_one_answering(tmp_path, repository, spoil, reason):
    async def body():
        served = repository()
        build(tmp_path, 1)
        await served.start(tmp_path)
        await served.wait_until(served.ready, WAIT_S)
        build(tmp_path / "aside", 2)
        spoil(tmp_path / "aside" / "tiny" / "2")
        async with Callers(served, LATEST) as callers:
            (tmp_path / "aside" / "tiny" / "2").rename(tmp_path / "tiny" / "2")
            await served.wait_until(
                lambda: any(status.error_code is not None for status in served.status("tiny")), WAIT_S
            )
            await callers.until_answered_by(1)
        assert callers.answered[2] == 0
        status = served.status("tiny", 2)[0]
        assert (status.state, status.error_code) == (VersionState.END, Code.FAILED_PRECONDITION)
        assert reason in status.error_message
        assert str(tmp_path) not in status.error_message
        assert served.available("tiny") == [1]
        with pytest.raises(NotFoundError):
            served.acquire(ModelSpec("tiny", version=2))
        # A mended version comes up by itself.
        build(tmp_path / "mended", 2)
        shutil.rmtree(tmp_path / "tiny" / "2")
        (tmp_path / "mended" / "tiny" / "2").rename(tmp_path / "tiny" / "2")
        await serving(served, 2)
        await served.close(WAIT_S)

    asyncio.run(body())


def test_slow_copy_comes_up_once_it_is_complete(tmp_path, repository):
    async def body():
        served = repository()
        build(tmp_path, 1)
        await served.start(tmp_path)
        await serving(served, 1)
        build(tmp_path / "aside", 2)
        source = tmp_path / "aside" / "tiny" / "2"
        target = tmp_path / "tiny" / "2"
        target.mkdir()
        async with Callers(served, LATEST, count=2) as callers:
            for file in sorted(source.iterdir()):
                data = file.read_bytes()
                for part in range(4):
                    with (target / file.name).open("ab") as copy:
                        copy.write(data[part * len(data) // 4 : (part + 1) * len(data) // 4])
                    await callers.until_answered_by(1)
            await serving(served, 2)
            await callers.until_answered_by(2)
        assert served.status("tiny", 2)[0].error_code is None
        await served.close(WAIT_S)

    asyncio.run(body())
