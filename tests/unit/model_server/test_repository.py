import asyncio
import functools
import shutil
import threading

import pytest

from edgewise.core.errors import Code, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.requests import ModelSpec
from edgewise.core.versions import All, ServedModelConfig, ServerConfig, Specific, VersionState
from edgewise.model_server.config.model_config import ModelConfig
from edgewise.model_server.versions.loading import LoadedVersion
from edgewise.model_server.versions.repository import Repository

LATEST = ModelSpec("m")
WAIT_S = 20.0


class FakeModel:
    """Says what it was loaded from, and notices when it is used after it was closed."""

    def __init__(self, text):
        self.signatures = {}
        self.text = text
        self.closed = False

    def run(self):
        assert not self.closed, "a version was closed under a request"
        return self.text

    def close(self):
        assert not self.closed
        self.closed = True


class FakeServable:
    def __init__(self, name, version, loaded):
        self.name = name
        self.version = version
        self.model = loaded.model
        self.closing = None

    async def close(self):
        if self.closing is not None:
            await self.closing.wait()
        self.model.close()


class Loads:
    """The port's fake: a version's file says how its load ends."""

    def __init__(self):
        self.begun = []
        self.gates = {}

    def hold(self, version):
        """Let loads of `version` wait until the gate that is returned is set."""
        gate = self.gates[version] = threading.Event()
        return gate

    def __call__(self, name, version, path):
        self.begun.append((name, version))
        text = (path / "model.txt").read_text()
        gate = self.gates.get(version)
        if gate is not None:
            assert gate.wait(WAIT_S)
        if text.startswith("broken"):
            raise FailedPreconditionError(f"{path}/model.txt: {text}")
        if text.startswith("fault"):
            raise KeyError("an inner secret")
        return LoadedVersion(FakeModel(text), ModelConfig(), {})


class Site:
    """A repository over a directory, driven by hand: files are looked at only when poked."""

    def __init__(self, directory, **options):
        self.directory = directory
        self.loads = Loads()
        self.changes = []
        options = {"poll_interval_s": 0, "settle_s": 0.0, "load_threads": 2, "root": directory, **options}
        self.repository = Repository(self.loads, FakeServable, **options)
        self.repository.on_change(self.changes.append)

    def put(self, version, text="ok", *, model="m"):
        path = self.directory / model / str(version)
        path.mkdir(parents=True, exist_ok=True)
        (path / "model.txt").write_text(text)

    def remove(self, version, *, model="m"):
        shutil.rmtree(self.directory / model / str(version))

    async def until(self, predicate):
        await self.repository.wait_until(predicate, WAIT_S)

    async def serving(self, *versions, model="m"):
        await self.until(lambda: self.repository.available(model) == list(versions))

    async def told(self, version, state, *, model="m"):
        def is_told():
            return any(s.version == version and s.state is state for s in self.repository.status(model))

        await self.until(is_told)

    def latest(self):
        servable = self.repository.acquire(LATEST)
        self.repository.release(servable)
        return servable.version


def on_loop(test):
    """Run the test on a loop; the repository is closed afterwards and nothing may be left in use."""

    @functools.wraps(test)
    def run(tmp_path, *args, **kwargs):
        async def body():
            sites = []

            def make(**options):
                sites.append(Site(tmp_path, **options))
                return sites[-1]

            await test(make, *args, **kwargs)
            for site in sites:
                await site.repository.close(drain_timeout_s=WAIT_S)
                assert site.repository.in_use() == 0
                assert not list(site.repository._routes.servables())

        asyncio.run(body())

    del run.__wrapped__
    return run


def config(*models):
    return ServerConfig(models)


def served(name="m", **changes):
    return ServedModelConfig(**{"name": name, "base_path": name, **changes})


@on_loop
async def test_directory_is_served(make):
    site = make()
    site.put(1)
    site.put(2)
    site.put(7, model="other")
    (site.directory / ".hidden" / "1").mkdir(parents=True)
    (site.directory / "a b" / "1").mkdir(parents=True)
    (site.directory / "no-versions" / "x").mkdir(parents=True)
    assert not site.repository.ready()
    await site.repository.start(site.directory)
    assert site.repository.models() == ["m", "other"]
    await site.until(site.repository.ready)
    assert site.repository.available("m") == [2]
    assert site.repository.available("other") == [7]
    assert site.latest() == 2


@on_loop
async def test_directory_that_is_not_there(make):
    site = make()
    with pytest.raises(FailedPreconditionError) as caught:
        await site.repository.start(site.directory / "nowhere")
    assert caught.value.message == f"The repository {site.directory}/nowhere cannot be read: No such file or directory"


@on_loop
async def test_new_version_takes_over_and_the_old_one_drains(make):
    site = make()
    site.put(1, "one")
    await site.repository.start(site.directory)
    await site.serving(1)
    held = site.repository.acquire(LATEST)
    site.put(2, "two")
    await site.repository.poke()
    await site.serving(2)
    assert site.latest() == 2
    assert site.repository.status("m", 1)[0].state is VersionState.UNLOADING
    assert held.model.run() == "one"
    with pytest.raises(NotFoundError):
        site.repository.acquire(ModelSpec("m", version=1))
    site.repository.release(held)
    await site.told(1, VersionState.END)
    assert held.model.closed
    assert [(c.status.version, c.status.state.value) for c in site.changes] == [
        (1, "LOADING"),
        (1, "AVAILABLE"),
        (2, "LOADING"),
        (2, "AVAILABLE"),
        (1, "UNLOADING"),
        (1, "END"),
    ]


@on_loop
async def test_old_version_answers_while_the_new_one_loads(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    await site.serving(1)
    gate = site.loads.hold(2)
    site.put(2)
    await site.repository.poke()
    await site.told(2, VersionState.LOADING)
    assert site.latest() == 1
    assert site.repository.ready()
    gate.set()
    await site.serving(2)


@on_loop
async def test_broken_version_leaves_the_old_one_and_says_why(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    await site.serving(1)
    site.put(2, "broken weights")
    await site.repository.poke()
    await site.told(2, VersionState.END)
    status = site.repository.status("m", 2)[0]
    assert (status.error_code, status.error_message) == (Code.FAILED_PRECONDITION, "2/model.txt: broken weights")
    assert site.latest() == 1
    assert site.repository.ready()
    assert site.loads.begun.count(("m", 2)) == 1
    await site.repository.poke()
    assert site.loads.begun.count(("m", 2)) == 1, "the same files are not tried in a tight loop"
    site.put(2, "mended")
    await site.repository.poke()
    await site.serving(2)


@on_loop
async def test_inner_errors_stay_inside(make):
    site = make()
    site.put(1, "fault")
    await site.repository.start(site.directory)
    await site.told(1, VersionState.END)
    status = site.repository.status("m")[0]
    assert status.error_code is Code.INTERNAL
    assert "secret" not in status.error_message
    assert not site.repository.ready()


@on_loop
async def test_servable_that_cannot_be_made_is_a_failed_load(make):
    site = make()
    site.put(1)
    made = []

    def refuse(name, version, loaded):
        made.append(loaded.model)
        raise FailedPreconditionError("there is no such batch size")

    site.repository._make_servable = refuse
    await site.repository.start(site.directory)
    await site.told(1, VersionState.END)
    assert site.repository.status("m")[0].error_message == "there is no such batch size"
    assert made[0].closed


@on_loop
async def test_versions_go_forward_and_back(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    await site.serving(1)
    site.put(2)
    await site.repository.poke()
    await site.serving(2)
    site.put(3)
    await site.repository.poke()
    await site.serving(3)
    site.remove(3)
    site.remove(2)
    await site.repository.poke()
    await site.serving(1)
    assert site.latest() == 1


@on_loop
async def test_last_version_outlives_its_files(make):
    site = make()
    site.put(1)
    await site.repository.start(config(served()))
    await site.serving(1)
    site.remove(1)
    await site.repository.poke()
    await site.repository.poke()
    assert site.latest() == 1
    shutil.rmtree(site.directory / "m")
    await site.repository.poke()
    assert site.latest() == 1


@on_loop
async def test_models_come_and_go_with_their_directories(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    await site.until(site.repository.ready)
    site.put(4, model="new")
    await site.repository.poke()
    assert site.repository.ready()
    await site.serving(4, model="new")
    shutil.rmtree(site.directory / "m")
    await site.repository.poke()
    await site.told(1, VersionState.END)
    assert site.repository.models() == ["new"]
    with pytest.raises(NotFoundError) as caught:
        site.repository.acquire(LATEST)
    assert caught.value.message == "Servable not found for request: Latest(m)"
    assert site.repository.ready()


@on_loop
async def test_files_that_are_being_written_are_waited_for(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    await site.serving(1)
    site.put(2, "ha")
    await site.repository._look()
    site.put(2, "half of")
    await site.repository._look()
    assert ("m", 2) not in site.loads.begun
    site.put(2, "half of it and the rest")
    await site.repository._look()
    assert ("m", 2) not in site.loads.begun
    await site.repository._look()
    await site.serving(2)
    servable = site.repository.acquire(LATEST)
    assert servable.model.run() == "half of it and the rest"
    site.repository.release(servable)


@on_loop
async def test_version_whose_files_change_while_they_are_read_does_not_answer(make):
    site = make()
    site.put(1)
    gate = site.loads.hold(1)
    await site.repository.start(site.directory)
    await site.told(1, VersionState.LOADING)
    site.put(1, "other words")
    gate.set()
    await site.told(1, VersionState.END)
    assert site.repository.status("m")[0].error_code is Code.UNAVAILABLE
    await site.repository.poke()
    await site.serving(1)
    servable = site.repository.acquire(LATEST)
    assert servable.model.run() == "other words"
    site.repository.release(servable)


@on_loop
async def test_empty_version_directory_is_none_yet(make):
    site = make()
    site.put(1)
    (site.directory / "m" / "2").mkdir()
    await site.repository.start(site.directory)
    await site.serving(1)
    assert [status.version for status in site.repository.status("m")] == [1]


@on_loop
async def test_polling_finds_versions_by_itself(make):
    site = make(poll_interval_s=0.01, settle_s=0.01)
    site.put(1)
    await site.repository.start(site.directory)
    await site.serving(1)
    site.put(2)
    await site.serving(2)
    site.remove(2)
    await site.serving(1)


@on_loop
async def test_reload_switches_versions_and_waits_for_them(make):
    site = make()
    for version in (1, 2, 3):
        site.put(version, str(version))
    await site.repository.start(config(served(policy=Specific((1,)))))
    await site.until(site.repository.ready)
    for version in (2, 3, 1):
        await site.repository.reload(config(served(policy=Specific((version,)))))
        assert site.repository.available("m") == [version]
        assert site.latest() == version


@on_loop
async def test_reload_replaces_the_whole_config(make):
    site = make()
    site.put(1)
    site.put(1, model="n")
    await site.repository.start(config(served()))
    await site.until(site.repository.ready)
    held = site.repository.acquire(LATEST)
    await site.repository.reload(config(served("n")))
    assert site.repository.models() == ["n"]
    assert site.repository.available("n") == [1]
    with pytest.raises(NotFoundError):
        site.repository.acquire(LATEST)
    assert held.model.run() == "ok"
    site.repository.release(held)
    await site.told(1, VersionState.END)


@on_loop
async def test_failed_reload_says_why_and_what_answered_goes_on(make):
    site = make()
    site.put(1)
    site.put(2, "broken weights")
    await site.repository.start(config(served(policy=Specific((1,)))))
    await site.until(site.repository.ready)
    for _ in range(2):
        with pytest.raises(FailedPreconditionError) as caught:
            await site.repository.reload(config(served(policy=Specific((2,))), served("nothing")))
        assert caught.value.message == (
            "2 model(s) did not become available: {"
            "{name: m version: 2} due to error: 2/model.txt: broken weights, "
            f"{{name: nothing}} due to error: Could not read base path {site.directory}/nothing for servable nothing: "
            "No such file or directory}"
        )
    assert site.loads.begun.count(("m", 2)) == 2, "an explicit reload tries again"
    assert site.latest() == 1


@on_loop
async def test_refused_config_changes_nothing(make):
    site = make()
    site.put(1)
    await site.repository.start(config(served()))
    await site.until(site.repository.ready)
    before = site.repository.config
    for refused, kind in (
        (config(served(), served()), InvalidArgumentError),
        (config(served(labels={"stable": 2})), FailedPreconditionError),
    ):
        with pytest.raises(kind):
            await site.repository.reload(refused)
    assert site.repository.config is before
    assert site.latest() == 1


@on_loop
async def test_labels_move_between_versions_that_answer(make):
    site = make()
    site.put(1)
    site.put(2)
    await site.repository.start(config(served(policy=All(), labels={"stable": 1})))
    await site.until(site.repository.ready)

    def behind(label):
        servable = site.repository.acquire(ModelSpec("m", label=label))
        site.repository.release(servable)
        return servable.version

    assert behind("stable") == 1
    await site.repository.reload(config(served(policy=All(), labels={"stable": 2, "old": 1})))
    assert (behind("stable"), behind("old")) == (2, 1)
    with pytest.raises(FailedPreconditionError) as caught:
        await site.repository.reload(config(served(policy=All(), labels={"stable": 3})))
    assert caught.value.message == (
        "Request to assign label to version 3 of model m, which is not currently available for inference"
    )
    assert (behind("stable"), behind("old")) == (2, 1)
    await site.repository.reload(config(served(policy=All())))
    with pytest.raises(InvalidArgumentError) as unknown:
        behind("stable")
    assert unknown.value.message == "Unrecognized servable version label: stable"
    assert site.repository.status("m", version=2)[0].state is VersionState.AVAILABLE


@on_loop
async def test_label_may_wait_for_its_version_when_allowed(make):
    site = make(allow_unavailable_labels=True)
    site.put(1)
    site.put(2)
    await site.repository.start(config(served(policy=Specific((1,)))))
    await site.until(site.repository.ready)
    await site.repository.reload(config(served(policy=Specific((1,)), labels={"canary": 2})))
    with pytest.raises(NotFoundError) as caught:
        site.repository.acquire(ModelSpec("m", label="canary"))
    assert caught.value.message == "Servable not found for request: Specific(m, 2)"
    await site.repository.reload(config(served(policy=All(), labels={"canary": 2})))
    assert site.repository.status("m", label="canary")[0].version == 2


def answering(site, preferred=None, **spec):
    """The version that answers, or None."""
    try:
        servable = site.repository.acquire(ModelSpec("m", **spec), preferred)
    except NotFoundError:
        return None
    site.repository.release(servable)
    return servable.version


@on_loop
async def test_the_label_default_decides_and_a_preference_is_a_wish(make):
    site = make()
    for version in (1, 2):
        site.put(version)
    await site.repository.start(config(served(policy=Specific((1,)), labels={"default": 1})))
    await site.serving(1)
    assert answering(site, 2) == 1
    await site.repository.reload(config(served(policy=Specific((1, 2)), labels={"default": 1})))
    assert answering(site) == 1
    assert answering(site, 2) == 2
    assert answering(site, 1) == 1
    assert answering(site, 9) == 1
    # Whoever names a version gets it; 0 names any, as OpenVINO's client says it.
    assert answering(site, 1, version=2) == 2
    assert answering(site, 2, label="default") == 1
    assert answering(site, 2, version=0) == 1
    await site.repository.reload(config(served(policy=Specific((1, 2)), labels={"default": 2})))
    assert (answering(site), answering(site, 1)) == (2, 1)
    await site.repository.reload(config(served(policy=Specific((2,)), labels={"default": 2})))
    await site.serving(2)
    assert answering(site, 1) == 2
    # Without the label, as in TensorFlow Serving.
    await site.repository.reload(config(served(policy=Specific((1, 2)))))
    assert (answering(site), answering(site, 1)) == (2, 1)


@on_loop
async def test_nothing_answers_in_place_of_the_default_version(make):
    site = make()
    site.put(1)
    site.put(2)
    gate = site.loads.hold(1)
    both = config(served(policy=Specific((1, 2)), labels={"default": 1}))
    await site.repository.start(both)
    await site.told(2, VersionState.AVAILABLE)
    assert answering(site) is None
    assert (answering(site, 2), answering(site, version=2)) == (2, 2)
    with pytest.raises(NotFoundError) as caught:
        site.repository.acquire(LATEST)
    assert caught.value.message == "Servable not found for request: Specific(m, 1)"
    assert not site.repository.ready()
    gate.set()
    await site.until(site.repository.ready)
    assert answering(site) == 1
    site.remove(1)
    await site.repository.poke()
    # It lost its files, not its place.
    assert answering(site) == 1


@on_loop
async def test_a_default_version_that_fails_is_no_reason_to_take_another(make):
    site = make()
    site.put(1, "broken")
    site.put(2)
    await site.repository.start(config(served(policy=Specific((1, 2)), labels={"default": 1})))
    await site.told(1, VersionState.END)
    await site.told(2, VersionState.AVAILABLE)
    assert answering(site) is None
    assert not site.repository.ready()


@on_loop
async def test_the_next_config_does_not_wait_for_the_loads_of_the_last(make):
    site = make()
    for version in (1, 2, 3):
        site.put(version)
    await site.repository.start(config(served(policy=Specific((1, 2)), labels={"default": 1})))
    await site.serving(1, 2)
    gate = site.loads.hold(3)
    await site.repository.take_over(config(served(policy=Specific((1, 2, 3)), labels={"default": 2})))
    await site.told(3, VersionState.LOADING)
    assert answering(site) == 2
    await site.repository.take_over(config(served(policy=Specific((1, 2)), labels={"default": 1})))
    assert answering(site) == 1
    gate.set()
    await site.serving(1, 2)


@on_loop
async def test_a_version_beside_the_default_never_answers_for_it(make):
    site = make()
    for version in (1, 2):
        site.put(version)
    await site.repository.start(config(served(policy=Specific((1,)), labels={"default": 1})))
    await site.serving(1)
    seen = set()
    site.repository.on_change(lambda _: seen.add(answering(site)))
    ends = False

    async def ask():
        while not ends:
            seen.add(answering(site))
            await asyncio.sleep(0)

    asking = asyncio.create_task(ask())
    for _ in range(3):
        for policy in (Specific((1, 2)), Specific((1,))):
            await site.repository.take_over(config(served(policy=policy, labels={"default": 1})))
            await site.serving(*policy.versions)
    ends = True
    await asking
    assert seen == {1}


@on_loop
async def test_status_of_what_is_not_known(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    for arguments, message in (
        (("x",), "Could not find any versions of model x"),
        (("m", 9), "Could not find version 9 of model m"),
    ):
        with pytest.raises(NotFoundError) as caught:
            site.repository.status(*arguments)
        assert caught.value.message == message


@on_loop
async def test_restart_beside_a_broken_version_is_ready_with_the_one_before(make):
    site = make()
    site.put(1)
    site.put(2, "broken")
    await site.repository.start(site.directory)
    await site.until(site.repository.ready)
    assert site.latest() == 1


@on_loop
async def test_not_ready_until_every_model_answers(make):
    site = make()
    site.put(1)
    site.put(1, model="n")
    gate = site.loads.hold(1)
    await site.repository.start(config(served(), served("n"), served("missing")))
    assert not site.repository.ready()
    gate.set()
    await site.serving(1)
    await site.serving(1, model="n")
    assert not site.repository.ready()
    site.put(1, model="missing")
    await site.repository.poke()
    await site.until(site.repository.ready)


@on_loop
async def test_close_waits_for_requests(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    await site.serving(1)
    held = site.repository.acquire(LATEST)
    closing = asyncio.create_task(site.repository.close(drain_timeout_s=WAIT_S))
    await site.told(1, VersionState.UNLOADING)
    assert not site.repository.ready()
    with pytest.raises(NotFoundError):
        site.repository.acquire(LATEST)
    assert held.model.run() == "ok"
    site.repository.release(held)
    await closing
    assert held.model.closed


@on_loop
async def test_close_leaves_what_is_in_use_too_long(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    await site.serving(1)
    held = site.repository.acquire(LATEST)
    await site.repository.close(drain_timeout_s=0.0)
    assert held.model.run() == "ok"
    site.repository.release(held)
    await site.repository._retire(next(iter(site.repository._served)), 1, site.repository._routes._slots[id(held)])


@on_loop
async def test_failing_close_does_not_keep_a_version_from_ending(make):
    site = make()
    site.put(1)
    await site.repository.start(site.directory)
    await site.serving(1)

    async def fail():
        raise RuntimeError("no")

    servable = site.repository.acquire(LATEST)
    site.repository.release(servable)
    servable.close = fail
    site.put(2)
    await site.repository.poke()
    await site.told(1, VersionState.END)
    assert site.latest() == 2


@on_loop
async def test_wait_gives_up(make):
    site = make()
    await site.repository.start(site.directory)
    with pytest.raises(TimeoutError):
        await site.repository.wait_until(lambda: False, timeout_s=0.0)
    assert site.repository._waiters == []


@on_loop
async def test_requests_never_fail_while_versions_change(make):
    site = make(poll_interval_s=0)
    for version in (1, 2, 3):
        site.put(version, str(version))
    specific = {version: config(served(policy=Specific((version,)))) for version in (1, 2, 3)}
    await site.repository.start(specific[1])
    await site.until(site.repository.ready)
    stop = False
    answered = {1: 0, 2: 0, 3: 0}

    async def ask(pause):
        while not stop:
            servable = site.repository.acquire(LATEST)
            states = {s.version: s.state for s in site.repository.status("m")}
            assert states[servable.version] is VersionState.AVAILABLE
            for _ in range(pause):
                await asyncio.sleep(0)
            assert servable.model.run() == str(servable.version)
            site.repository.release(servable)
            answered[servable.version] += 1

    async with asyncio.TaskGroup() as group:
        for pause in (1, 3, 17):
            group.create_task(ask(pause))
        for _ in range(3):
            for version in (2, 3, 1):
                await site.repository.reload(specific[version])
                await asyncio.sleep(0)
        stop = True
    assert all(answered.values())
