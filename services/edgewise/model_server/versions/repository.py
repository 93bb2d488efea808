"""The models that this server serves: finds versions, loads them beside those that answer, and swaps them.

`core.version_plan` decides what to load and to unload; this module carries it out. Everything but reading files and
loading happens on the event loop, in one step each: what happened is noted, versions that are replaced leave the
routes, the routes are exchanged. A request is therefore admitted by a version that is AVAILABLE at that moment, and
that version stays in memory until the request has been released.

    scan ─▶ plan ─▶ load in a thread ─▶ AVAILABLE: in the routes ─▶ out of the routes ─▶ drained ─▶ closed
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.core.errors import FailedPreconditionError, NotFoundError
from edgewise.core.versions import (
    ServerConfig,
    VersionState,
    VersionStatus,
    check_config,
    resolve_label,
)
from edgewise.model_server.versions.daemon_thread import run_in_daemon_thread
from edgewise.model_server.versions.loading import Load, LoadedVersion, load_unchanged, why_not
from edgewise.model_server.versions.model_files import VersionFiles, look
from edgewise.model_server.versions.routes import Acquire, Routes, Slot
from edgewise.model_server.versions.served_models import ServedModel, ServedModels

if TYPE_CHECKING:
    from edgewise.model_server.servable import Servable

_log = logging.getLogger(__name__)

MakeServable = Callable[[str, int, LoadedVersion], "Servable"]


@dataclass(frozen=True, slots=True)
class VersionChange:
    """A version has come into another state, or has another error.

    Attributes:
        before: the state it was in; None for a version that was not known.
    """

    name: str
    before: VersionState | None
    status: VersionStatus


class Repository:
    """The versions in memory, and who may use them.

    Attributes:
        acquire, release: see `Routes`; every request that acquires a version releases it when it has ended.

    Args of the constructor:
        load: reads, warms and checks a version; called in a thread; raises an EdgewiseError that says why not.
        make_servable: makes what the front doors use of a loaded version; called on the loop. Its `close()` is
            awaited once nobody uses it any more.
        poll_interval_s: how often the files are looked at; 0 or less looks only when asked (`poke`, `reload`).
        settle_s: files that changed are looked at again after this, and are loaded once they have stayed the same.
        load_threads: how many versions load at once until all models first answer; one at a time afterwards.
        root: relative base paths are under it; None means the working directory.
        allow_unavailable_labels: a new label may point at a version that is not AVAILABLE.
    """

    def __init__(
        self,
        load: Load,
        make_servable: MakeServable,
        *,
        poll_interval_s: float = 1.0,
        settle_s: float = 0.25,
        load_threads: int = 2,
        root: Path | None = None,
        allow_unavailable_labels: bool = False,
    ) -> None:
        routes = Routes()
        self.acquire: Acquire = routes.acquire
        self.release: Callable[[Servable], None] = routes.release
        self._routes = routes
        self._load = load
        self._make_servable = make_servable
        self._poll_interval_s = poll_interval_s
        self._settle_s = settle_s
        self._load_threads = load_threads
        self._allow_unavailable_labels = allow_unavailable_labels
        self._served = ServedModels(root or Path())
        self._loading = 0
        self._ready = False
        self._closed = False
        self._listeners: list[Callable[[VersionChange], None]] = []
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._look_lock = asyncio.Lock()
        self._reload_lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._started = False

    # ---- what is served

    def models(self) -> list[str]:
        """The names of the models that are to be served, in the order of the config."""
        return [model.config.name for model in self._served if model.served]

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[VersionStatus]:
        """What is told of a model's versions, the highest first.

        Raises:
            NotFoundError: nothing is known of the model or version.
            InvalidArgumentError: no such label.
        """
        model = self._served.get(name)
        if version is None and label is not None:
            version = resolve_label(label, model.config.labels if model is not None else None)
        statuses = model.versions.statuses() if model is not None else []
        if version is None:
            if not statuses:
                raise NotFoundError(f"Could not find any versions of model {name}")
            return statuses
        for status in statuses:
            if status.version == version:
                return [status]
        if version == 0 and statuses:
            # OpenVINO's client says 0 where it means any version.
            return statuses
        raise NotFoundError(f"Could not find version {version} of model {name}")

    def available(self, name: str) -> list[int]:
        """The versions of a model that answer, the lowest first; empty when there is no such model."""
        return self._routes.available(name)

    def labels(self, name: str) -> Mapping[str, int]:
        """Version by label."""
        model = self._served.get(name)
        return model.config.labels if model is not None and model.served else {}

    def in_use(self) -> int:
        """Requests that hold a version."""
        return self._routes.in_use()

    def ready(self) -> bool:
        """Whether every model that should serve is loaded and warm.

        It becomes true once each model answers and no wanted version is left to try. From then on new versions and
        new models load beside those that answer, and it stays true for as long as no model that answered has stopped.
        """
        if self._closed or not self._started:
            return False
        served = [model for model in self._served if model.served]
        if not self._ready:
            now_s = self._now_s()
            self._ready = all(model.answers and model.versions.settled(now_s) for model in served)
        return self._ready and all(model.answers or not model.answered for model in served)

    def on_change(self, listener: Callable[[VersionChange], None]) -> Callable[[], None]:
        """Call `listener` on the loop when a version comes into another state.

        Returns: a function that ends this.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def wait_until(self, predicate: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Return once `predicate()` holds; it is asked after each change.

        Raises:
            TimeoutError: it did not within `timeout_s`.
        """
        if predicate():
            return
        waiter = (predicate, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter[1]
        finally:
            self._waiters.remove(waiter)

    # ---- life

    async def start(self, source: ServerConfig | Path) -> None:
        """Look at the files once and begin to load; `ready()` tells when the models answer.

        Args:
            source: a config, or a directory in which every directory with versions is a model. Labels of the first
                config may point at versions that are still to be loaded.

        Raises:
            InvalidArgumentError: the config cannot be served.
            FailedPreconditionError: the directory cannot be read.
        """
        if isinstance(source, ServerConfig):
            check_config(source)
            self._served.adopt(source, trusted=True)
        else:
            self._served.directory = source
        await self._look()
        if self._served.problem:
            raise FailedPreconditionError(self._served.problem)
        self._started = True
        self._advance()
        self._spawn(self._poll())

    async def reload(self, config: ServerConfig) -> None:
        """Replace the whole config, and return when every wanted version answers or has failed.

        Models that are not in it are removed. A refused config changes nothing; after a failed load the new config
        holds, and what answered before goes on answering.

        Raises:
            InvalidArgumentError: the config cannot be served.
            FailedPreconditionError: a label points at a version that is not AVAILABLE, or a model did not become
                available.
        """
        async with self._reload_lock:
            await self._take_over(config)
            models = [model for model in self._served if model.served]
            await self.wait_until(lambda: all(model.versions.settled(self._now_s()) for model in models))
            failures = [text for model in models if (text := model.failure())]
        if failures:
            raise FailedPreconditionError(
                f"{len(failures)} model(s) did not become available: {{{', '.join(failures)}}}"
            )

    async def take_over(self, config: ServerConfig) -> None:
        """Replace the whole config and return when loads have begun, so that the next one need not wait for them.

        Versions and labels change together, in one step. Raises what `reload` raises of a config that is refused.
        """
        async with self._reload_lock:
            await self._take_over(config)

    async def _take_over(self, config: ServerConfig) -> None:
        self._served.check(config, allow_unavailable_labels=self._allow_unavailable_labels)
        self._served.directory = None
        self._served.adopt(config, trusted=True, again=True)
        await self.poke()

    @property
    def config(self) -> ServerConfig:
        """The config in force."""
        return self._served.config

    async def poke(self) -> None:
        """Look at the files now, and once more if some of them are changing; return when loads have begun."""
        await self._look()
        if any(model.unsettled for model in self._served):
            await asyncio.sleep(self._settle_s)
            await self._look()
        self._wake.set()

    async def close(self, drain_timeout_s: float = 30.0) -> None:
        """Take every version out of the routes, wait until nobody uses any, and close them.

        What is still in use after `drain_timeout_s` seconds is left as it is: to close it under a running request
        would crash.
        """
        self._closed = True
        self._served.remove_all()
        self._advance()
        try:
            await self.wait_until(lambda: all(m.versions.gone() for m in self._served), drain_timeout_s)
        except TimeoutError:
            _log.warning("closed with %d requests in flight and %d loads under way", self.in_use(), self._loading)
        if self._retry is not None:
            self._retry.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- looking at the files

    async def _poll(self) -> None:
        while True:
            unsettled = any(model.unsettled for model in self._served)
            delay_s = self._settle_s if unsettled else self._poll_interval_s
            try:
                async with asyncio.timeout(delay_s if unsettled or delay_s > 0 else None):
                    await self._wake.wait()
                self._wake.clear()
            except TimeoutError:
                try:
                    await self._look()
                except Exception:  # noqa: BLE001 (the next look may go well)
                    _log.exception("the files of the models could not be looked at")

    async def _look(self) -> None:
        async with self._look_lock:
            epoch = -1
            while epoch != self._served.epoch:
                epoch = self._served.epoch
                found = await run_in_daemon_thread(partial(look, *self._served.ask()), "edgewise-files")
            self._served.note(found, trusted=not self._started)
        self._advance()

    # ---- carrying out the plan

    def _advance(self) -> None:
        """Do what the plan says next, and tell who listens. One step: nobody sees anything in between."""
        for model in self._served:
            self._unload_surplus(model)
            self._reroute(model)
        if not self._closed:
            self._begin_loads()
            self._schedule_retry()
        self.ready()
        for model in self._served:
            self._tell(model)
        self._served.forget_old()
        for predicate, future in self._waiters:
            if not future.done() and predicate():
                future.set_result(None)

    def _unload_surplus(self, model: ServedModel) -> None:
        for version in model.versions.next_unloads():
            model.versions.began_unloading(version)
            self._spawn(self._retire(model, version, model.slots.pop(version)))

    def _reroute(self, model: ServedModel) -> None:
        routed = (dict(model.slots), model.config.labels) if model.served else (None, {})
        if routed != model.routed:
            model.routed = routed
            self._routes.exchange(model.config.name, *routed)

    def _begin_loads(self) -> None:
        limit = 1 if self._ready else self._load_threads
        now_s = self._now_s()
        for model in sorted(self._served, key=lambda model: bool(model.slots)):
            while self._loading < limit and model.seen is not None and (due := model.versions.next_loads(now_s)):
                model.versions.began_loading(due[0])
                self._loading += 1
                self._spawn(self._load_version(model, due[0], model.seen[due[0]]))

    def _schedule_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        now_s = self._now_s()
        times = (model.versions.next_retry_s() for model in self._served)
        later = [time_s for time_s in times if time_s is not None and time_s > now_s]
        self._retry = asyncio.get_running_loop().call_at(min(later), self._advance) if later else None

    async def _load_version(self, model: ServedModel, version: int, files: VersionFiles) -> None:
        name = model.config.name
        try:
            loaded = await run_in_daemon_thread(
                partial(load_unchanged, self._load, name, version, files), f"edgewise-load-{name}-{version}"
            )
            try:
                servable = self._make_servable(name, version, loaded)
            except BaseException:
                loaded.model.close()
                raise
        except Exception as error:  # noqa: BLE001 (why_not logs what nobody foresaw)
            model.versions.failed(version, *why_not(error, model.base), self._now_s())
        else:
            model.slots[version] = self._routes.add(servable)
            model.versions.loaded(version)
        self._loading -= 1
        self._advance()

    async def _retire(self, model: ServedModel, version: int, slot: Slot) -> None:
        await self._routes.drained(slot)
        try:
            await slot.servable.close()
        except Exception:  # noqa: BLE001 (it has left the routes whatever happens)
            _log.exception("version %d of %s did not close as it should", version, model.config.name)
        self._routes.forget(slot)
        model.versions.unloaded(version)
        self._advance()

    def _tell(self, model: ServedModel) -> None:
        name = model.config.name
        model.answered = model.answered or model.answers
        statuses = {status.version: status for status in model.versions.statuses()}
        # What takes over is told before what it replaces: a record of changes never shows a model without a version.
        for version, status in sorted(statuses.items(), key=lambda item: item[1].state is VersionState.UNLOADING):
            before = model.told.get(version)
            if before == status:
                continue
            for listener in self._listeners:
                try:
                    listener(VersionChange(name, before.state if before is not None else None, status))
                except Exception:  # noqa: BLE001 (versions change whether or not everybody can follow)
                    _log.exception("a listener failed on %s version %d", name, version)
        model.told = statuses

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()
