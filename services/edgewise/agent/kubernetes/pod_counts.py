"""What pods of two versions counted since a division began, and lately."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from edgewise.agent.kubernetes.pod_door import PodDoor
from edgewise.agent.kubernetes.pod_numbers import PodNumbers, read_numbers, summed
from edgewise.agent.kubernetes.release_pods import VersionPod
from edgewise.agent.kubernetes.thinning import Thinning
from edgewise.agent.site.port import Counts, Division, Reading
from edgewise.core.errors import UnavailableError
from edgewise.core.rollout.reports import Served

EVERY_S: Final = 1.0
"""Pods are asked no more often: writing its metrics costs a model server some milliseconds."""
WINDOW_S: Final = 60.0
MAX_PODS_ASKED: Final = 100
_QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
_AT_ONCE: Final = 8


@dataclass
class _Since:
    """Under one key.

    Attributes:
        begun: the first numbers of each process: what it counted before says nothing of the division.
        counted: version and what was counted since, by process; those that are gone stay in it.
        errors, slow: what counts of it; None where requests are not divided, or it is not said what is slow.
        known: what has been added to them.
    """

    key: str
    begun: dict[str, PodNumbers] = field(default_factory=dict)
    counted: dict[str, tuple[int, PodNumbers]] = field(default_factory=dict)
    errors: Thinning | None = None
    slow: Thinning | None = None
    known: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, process: str, version: int, numbers: PodNumbers) -> None:
        before = self.begun.setdefault(process, numbers)
        self.counted[process] = (version, numbers.since(before))

    def counts(self, division: Division) -> Counts:
        """What was counted, in the division's share."""
        new, old = self._of(division.new), self._of(division.old)
        if not 0.0 < division.share < 1.0:
            slow_s = None if division.slow_ms is None else division.slow_ms / 1000.0
            return Counts(
                new_count=new.requests,
                new_errors=new.errors,
                old_count=old.requests,
                old_errors=old.errors,
                new_timed=0 if slow_s is None else new.timed,
                new_slow=0 if slow_s is None else new.slower(slow_s),
                old_timed=0 if slow_s is None else old.timed,
                old_slow=0 if slow_s is None else old.slower(slow_s),
            )
        if self.errors is None:
            self.errors = Thinning(division.share)
        self._add("errors", self.errors, (new.requests, new.errors), (old.requests, old.errors))
        if division.slow_ms is not None:
            slow_s = division.slow_ms / 1000.0
            if self.slow is None:
                self.slow = Thinning(division.share)
            self._add("slow", self.slow, (new.timed, new.slower(slow_s)), (old.timed, old.slower(slow_s)))
        timed = self.slow or Thinning(division.share)
        return Counts(
            new_count=self.errors.new.count,
            new_errors=self.errors.new.hits,
            old_count=self.errors.old.count,
            old_errors=self.errors.old.hits,
            new_timed=timed.new.count,
            new_slow=timed.new.hits,
            old_timed=timed.old.count,
            old_slow=timed.old.hits,
        )

    def _add(self, name: str, thinning: Thinning, new: tuple[int, int], old: tuple[int, int]) -> None:
        """Add what came since the last time."""
        more = []
        for arm, now in (("new", new), ("old", old)):
            before = self.known.get(f"{name}/{arm}", (0, 0))
            more.append((now[0] - before[0], max(0, now[1] - before[1])))
            self.known[f"{name}/{arm}"] = now
        thinning.add(*more)

    def _of(self, version: int) -> PodNumbers:
        return summed(numbers for told, numbers in self.counted.values() if told == version)


class PodCounts:
    """Asks pods what they have counted.

    Args:
        now_s: a monotonic clock.
    """

    def __init__(self, door: PodDoor, now_s: Callable[[], float]) -> None:
        self._door = door
        self._now_s = now_s
        self._threads = ThreadPoolExecutor(_AT_ONCE, "edgewise-pods")
        self._asked_s = float("-inf")
        self._since = _Since("")
        self._present: dict[str, tuple[int, PodNumbers]] = {}
        self._window: deque[tuple[float, dict[str, PodNumbers]]] = deque()

    def reading(self, model: str, pods: Iterable[VersionPod], division: Division) -> Reading:
        """What was counted under the division's key.

        Args:
            pods: those that take requests.
        """
        if self._since.key != division.key:
            self._since = _Since(division.key)
            self._asked_s = float("-inf")
        self._ask(model, pods)
        before = summed(numbers for version, numbers in self._present.values() if version == division.old)
        return Reading(
            key=division.key,
            counts=self._since.counts(division),
            old_timed=before.timed,
            old_quantiles_ms={quantile: before.quantile_s(quantile) * 1000.0 for quantile in _QUANTILES},
        )

    def served(self, model: str, pods: Iterable[VersionPod]) -> Served | None:
        """How requests were answered in the last minute; None while nothing is known."""
        self._ask(model, pods)
        if len(self._window) < 2:
            return None
        _, then = self._window[0]
        _, now = self._window[-1]
        # What a process counted before it was first asked may be of any age.
        lately = summed(numbers.since(then[process]) for process, numbers in now.items() if process in then)
        return Served(
            requests=lately.requests,
            errors=lately.errors,
            p50_ms=lately.quantile_s(0.5) * 1000.0,
            p99_ms=lately.quantile_s(0.99) * 1000.0,
        )

    def _ask(self, model: str, pods: Iterable[VersionPod]) -> None:
        now_s = self._now_s()
        if now_s - self._asked_s < EVERY_S:
            return
        self._asked_s = now_s
        asked = list(pods)[:MAX_PODS_ASKED]
        found = self._threads.map(lambda pod: self._numbers(model, pod), asked)
        self._present = {
            pod.process: (pod.version, numbers)
            for pod, numbers in zip(asked, found, strict=True)
            if numbers is not None
        }
        for process, (version, numbers) in self._present.items():
            self._since.add(process, version, numbers)
        self._remember(now_s, {process: numbers for process, (_, numbers) in self._present.items()})

    def _remember(self, now_s: float, numbers: Mapping[str, PodNumbers]) -> None:
        self._window.append((now_s, dict(numbers)))
        while len(self._window) > 1 and now_s - self._window[0][0] > WINDOW_S:
            self._window.popleft()

    def _numbers(self, model: str, pod: VersionPod) -> PodNumbers | None:
        answer = self._door.get(pod.item, "/metrics")
        if answer is None or answer.status != 200:
            return None
        try:
            return read_numbers(answer.body.decode(errors="replace"), model)
        except UnavailableError:
            return None
