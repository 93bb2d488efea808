"""A whole rollout against a control plane that is killed at every call that makes its database last; a program for `test_kills`.

    python -m support.killed_hub DIRECTORY before|after

One process plays the sites and the operator, who outlive the hub and ask again what got no answer. Its child is the hub. The child is killed
at its first call, begun anew, and everything goes on to the end; then again, killed at its second call, and so on, until it gets through.
Printed, for each: whether it was killed, the states at the end, and what the history says.
"""

import ctypes
import json
import os
import shutil
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edgewise.core.errors import EdgewiseError
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.store.store import Store
from edgewise.trust.keys import SigningKey
from support.control_world import OPERATOR, QUIET, Site, manifest_sha256, opened, release

SPECIFICATION = f"model: pets\nversion: 2\nwaves: [{{name: first, take: 1}}, {{name: rest, at_once: 100%}}]\n{QUIET}"
START_S = 1_800_000_000.0
MOST_POINTS = 2000
ROLLOUT = "pets-two"


class HubGoneError(Exception):
    """The child is dead."""


class Hub:
    """The child, started anew when it is dead."""

    def __init__(self, url: str, key: SigningKey, clock: list[float]) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._child = 0
        self._pipe: Connection | None = None
        self.killed = 0

    def start(self, *, deadly: int = 0, after: bool = False) -> None:
        """Begin. Args: deadly: the call at which it is killed; 0 for none."""
        ours, theirs = Pipe()
        self._child = os.fork()
        if self._child == 0:
            ours.close()
            try:
                self._serve(theirs, deadly, after=after)
            finally:
                os._exit(0)
        theirs.close()
        self._pipe = ours

    def ask(self, method: str, *words: Any, **options: Any) -> Any:
        """Call a method; whoever gets no answer asks again."""
        while True:
            try:
                kind, answer = self._once(method, words, options)
            except HubGoneError:
                self.start()
                continue
            if kind == "refused":
                raise EdgewiseError(answer)
            return answer

    def stop(self) -> None:
        """End the child."""
        assert self._pipe is not None
        self._pipe.close()
        os.waitpid(self._child, 0)

    def _once(self, method: str, words: Any, options: Any) -> Any:
        assert self._pipe is not None
        try:
            self._pipe.send((self._clock[0], method, words, options))
            return self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            _, status = os.waitpid(self._child, 0)
            assert os.WIFSIGNALED(status), "the hub ended by itself"
            self.killed += 1
            self._pipe.close()
            raise HubGoneError from None

    def _serve(self, pipe: Connection, deadly: int, *, after: bool) -> None:
        killer = ctypes.CDLL(None)
        killer.killer_arm(deadly, int(after))
        clock = [START_S]
        store = Store(self._url)
        commit = store.engine.dialect.do_commit

        def counted(connection: Any) -> None:
            number = killer.killer_begin()
            commit(connection)
            killer.killer_end(number)

        store.engine.dialect.do_commit = counted  # type: ignore[method-assign]
        plane = ControlPlane(store, self._key, clock=lambda: clock[0])
        while True:
            try:
                clock[0], method, words, options = pipe.recv()
            except EOFError:
                return
            try:
                answer = ("done", getattr(plane, method)(*words, **options))
            except EdgewiseError as error:
                answer = ("refused", error.message)
            pipe.send(answer)


class Operator:
    """Does what has not been done, until it has."""

    def __init__(self, hub: Hub, clock: list[float]) -> None:
        self._hub = hub
        self._clock = clock
        self.sites = [Site(name, hub.ask) for name in ("alpha", "beta", "gamma")]
        self._late = Site("late", hub.ask)

    def play(self) -> dict[str, Any]:
        """All of it: to every site, to one that is enrolled afterwards, and back."""
        for site in self.sites:
            self._until_done(site.join)
        made = release(2)
        self._hub.ask("add_release", made, manifest_sha256(made), OPERATOR)
        self._until(lambda: bool(self._hub.ask("rollouts")), self._create)
        self._until(lambda: self._state() != "Planned", lambda: self._command("start"))
        self._settle("Completed")
        self._until_done(self._late.join)
        self.sites.append(self._late)
        self._settle("Completed")
        self._until(lambda: self._state() != "Completed", lambda: self._command("undo"))
        self._settle("RolledBack")
        status = self._hub.ask("rollout", ROLLOUT)
        told = [opened(self._hub.ask("desired", site.name, self._clock[0])[1]) for site in self.sites]
        return {
            "state": status.state,
            "sites": {one.site: one.state for one in status.sites},
            "told": [[order.want for order in desired.orders] for desired in told],
            "generations": [desired.generation for desired in told],
            "history": [[one.kind, one.subject, one.before, one.after] for one in self._hub.ask("history", ROLLOUT)],
        }

    def _create(self) -> None:
        self._hub.ask("create_rollout", SPECIFICATION, "yaml", name=ROLLOUT, actor=OPERATOR, now_s=self._clock[0])

    def _command(self, verb: str) -> None:
        self._hub.ask("command", ROLLOUT, verb, "", OPERATOR, self._clock[0])

    def _state(self) -> str:
        return str(self._hub.ask("rollout", ROLLOUT).state)

    def _settle(self, state: str) -> None:
        for _ in range(200):
            self._clock[0] += 1.0
            moved = [site.step(self._clock[0]) for site in self.sites]
            self._hub.ask("tick", self._clock[0])
            if not any(moved) and self._state() == state:
                return
        raise AssertionError(f"the rollout is {self._state()} and will not be {state}")

    @staticmethod
    def _until(is_done: Any, do: Any) -> None:
        """What was refused may have been done already: the hub was killed before it could say so."""
        while not is_done():
            try:
                do()
            except EdgewiseError:
                continue

    @staticmethod
    def _until_done(do: Any) -> None:
        while True:
            try:
                return do()
            except EdgewiseError:
                continue


def main() -> None:
    directory, when = Path(sys.argv[1]), sys.argv[2]
    seen = []
    key = SigningKey.generated()
    for deadly in range(1, MOST_POINTS):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        clock = [START_S]
        hub = Hub(f"sqlite:///{directory}/hub.db", key, clock)
        hub.start(deadly=deadly, after=when == "after")
        found = Operator(hub, clock).play()
        hub.stop()
        seen.append({"killed": hub.killed, **found})
        if not hub.killed:
            break
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
