"""How a process starts, is told to stop, and stops.

    async def main(stop: StopSignal) -> None:
        ...start...
        shutdown = Shutdown()
        shutdown.add("drain the front doors", drain, timeout_s=10)
        shutdown.add("stop the backends", backends.close, timeout_s=5)
        await stop.wait()
        await shutdown.run()

    sys.exit(run(main))

The first SIGTERM or SIGINT asks; the second ends the process at once. A service manager that wants to know (`sd_notify`) is
told that the process is alive and that it stops; that it is ready, `main` tells by itself.
"""

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, NoReturn

import uvloop

from edgewise.net.sd_notify import notifier

_LOG: Final = logging.getLogger(__name__)
_OPEN_FILES: Final = 65536
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Set when the process has been asked to stop.

    Attributes:
        reason: who asked, such as "SIGTERM"; "" before.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether the process has been asked to stop."""
        return self._event.is_set()

    def set(self, reason: str) -> None:
        """Ask; the first reason stays."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    async def wait(self) -> str:
        """Wait until asked; returns the reason."""
        await self._event.wait()
        return self.reason


def run(main: Callable[[StopSignal], Awaitable[int | None]]) -> int:
    """Run a service on uvloop until `main` returns.

    Args:
        main: is given the signal to wait for, and cleans up by itself.
    Returns: the exit code: what `main` returned, 0 for None.
    """

    async def guarded() -> int:
        stop = StopSignal()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, _on_signal, stop, number)
        notifier().keep_beating(loop)
        try:
            return await main(stop) or 0
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    raise_open_files_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(guarded())


def raise_open_files_limit() -> int:
    """Let the process open as many files as it may: each connection is one, and the usual soft limit is 1024.

    Returns: the limit in force.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _on_signal(stop: StopSignal, number: signal.Signals) -> None:
    if stop.is_set:
        _LOG.warning("%s again: ending at once", number.name)
        _end_now(128 + number)
    _LOG.info("%s: stopping; once more ends at once", number.name)
    notifier().stopping(f"{number.name}: finishing what is in flight")
    stop.set(number.name)


def _end_now(code: int) -> NoReturn:
    # Not sys.exit: whatever keeps the orderly way from ending would keep this one too.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@dataclass(frozen=True, slots=True)
class StageResult:
    """How one stage of a shutdown went.

    Attributes:
        name: the stage.
        took_s: seconds.
        problem: "" when it went well, otherwise what happened.
    """

    name: str
    took_s: float
    problem: str = ""


class Shutdown:
    """The stages of an orderly end, in order, each with its time bound.

    A stage that fails or runs out of time is logged, and the next one runs: what is left to release is released.
    """

    def __init__(self) -> None:
        self._stages: list[tuple[str, Callable[[], Awaitable[object]], float]] = []
        self._results: list[StageResult] | None = None

    def add(self, name: str, stage: Callable[[], Awaitable[object]], *, timeout_s: float) -> None:
        """Append a stage.

        Args:
            name: an imperative for the log, such as "stop accepting".
            stage: is called and awaited; it is cancelled when its time is over.
            timeout_s: seconds it may take.
        Raises: ValueError: timeout_s <= 0. RuntimeError: the shutdown has begun.
        """
        if timeout_s <= 0:
            raise ValueError(f"stage {name!r}: timeout_s is {timeout_s}; it has to be greater than 0")
        if self._results is not None:
            raise RuntimeError("the shutdown has begun; no stage can be added")
        self._stages.append((name, stage, timeout_s))

    async def run(self) -> list[StageResult]:
        """Run the stages once; a second call returns the same results.

        Returns: one result a stage.
        """
        if self._results is not None:
            return self._results
        self._results = results = []
        for name, stage, timeout_s in self._stages:
            begun_s = monotonic()
            problem = await _run_stage(stage, timeout_s)
            took_s = monotonic() - begun_s
            if problem:
                _LOG.error("shutdown: %s: %s (%.3f s)", name, problem, took_s)
            else:
                _LOG.info("shutdown: %s (%.3f s)", name, took_s)
            results.append(StageResult(name, took_s, problem))
        return results


async def _run_stage(stage: Callable[[], Awaitable[object]], timeout_s: float) -> str:
    timer = asyncio.timeout(timeout_s)
    try:
        async with timer:
            await stage()
    except TimeoutError as error:
        if timer.expired():
            return f"not done within {timeout_s:g} s"
        return f"TimeoutError: {error}"
    except Exception as error:  # noqa: BLE001 - the stages after it still have things to release
        _LOG.debug("a shutdown stage failed", exc_info=error)
        return f"{type(error).__name__}: {error}"
    return ""
