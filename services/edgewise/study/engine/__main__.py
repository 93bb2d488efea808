"""The engine's own process: `python -m edgewise.study.engine FD`, FD being a socket to who started it."""

import asyncio
import os
import signal
import sys
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

import uvloop

from edgewise.core.errors import EdgewiseError, UnavailableError
from edgewise.net.memory import keep_freed_memory
from edgewise.study.engine.columns import Columns
from edgewise.study.engine.driver import Driver, resolve
from edgewise.study.engine.job import Job
from edgewise.study.engine.outcome import Outcome
from edgewise.study.engine.scheduling import Cores, lower_priority, raise_priority


async def _run(job: Job, columns: Columns, connection: "Connection[Any, Any]") -> Outcome:
    scheduling = ""

    def hurry() -> None:
        nonlocal scheduling
        scheduling = raise_priority()

    driver = Driver(job, columns, resolve(job.asking.host, job.asking.port), hurry)
    loop = asyncio.get_running_loop()

    def told() -> None:
        try:
            connection.recv()
        except (EOFError, OSError):
            os._exit(1)  # who asked is gone: nobody will read what comes of it
        driver.stop()

    loop.add_reader(connection.fileno(), told)
    try:
        outcome = await driver.run()
        return replace(outcome, scheduling=scheduling)
    finally:
        lower_priority()
        loop.remove_reader(connection.fileno())
        # The loop does not wait on what it watches; between runs this process does.
        os.set_blocking(connection.fileno(), True)


def _serve(connection: "Connection[Any, Any]") -> None:
    cores = Cores()
    while True:
        try:
            job: Job | str = connection.recv()
            if isinstance(job, str):
                continue  # the wish to stop a run came when that was just over
            fd = recv_handle(connection)
            requests: int = connection.recv()
        except EOFError:
            return
        answer: Outcome | EdgewiseError
        try:
            try:
                columns = Columns(fd, requests)
            finally:
                os.close(fd)
            cpus = cores.use(job.cpus)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                outcome = runner.run(_run(job, columns, connection))
            answer = replace(outcome, cpus=cpus)
        except EdgewiseError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked has to be told
            traceback.print_exc()
            answer = UnavailableError(f"the engine failed: {error.__cause__ or error}")
        connection.send(answer)


def main() -> None:
    """Run jobs until nobody asks any more."""
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("this is a part of `edgewise study`, which starts it by itself")
    # Ctrl-C reaches the whole terminal: who asked decides what becomes of the run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    with Connection(int(sys.argv[1])) as connection:
        _serve(connection)


if __name__ == "__main__":
    main()
