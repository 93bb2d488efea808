"""What became of a load of `app_load.py`: a handle on its process, the books, and figures by phase."""

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from support.app_load import ERROR, LOST, OK, WRONG, LoadSettings, Record
from support.waiting import wait_for

STATES: Final = (OK, WRONG, ERROR, LOST)
_END_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Phase:
    """Latencies in milliseconds, from the intended time of sending to the right answer."""

    name: str
    asked: int
    failed: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, name: str, records: Iterable[Record]) -> Self:
        """The row of some requests."""
        records = list(records)
        took_ms = [(record.ended_s - record.due_s) * 1e3 for record in records if record.state == OK]
        failed = sum(record.state != OK for record in records)
        return cls(
            name, len(records), failed, quantile(took_ms, 0.5), quantile(took_ms, 0.99), max(took_ms, default=math.nan)
        )


class Ledger:
    """All requests of one load.

    Attributes:
        records: in order of their intended time.
        scheduled: how many the generator says it has sent.
    """

    def __init__(self, records: list[Record], scheduled: int) -> None:
        self.records = sorted(records, key=lambda record: record.due_s)
        self.scheduled = scheduled

    @property
    def counts(self) -> Counter[str]:
        """Requests by state."""
        return Counter(record.state for record in self.records)

    @property
    def residual(self) -> int:
        """Requests sent that have no end of a known kind, or ends without a request; has to be zero."""
        numbers = {record.number for record in self.records if record.state in STATES}
        return len(set(range(self.scheduled)) ^ numbers) + len(self.records) - len(numbers)

    @property
    def failures(self) -> list[Record]:
        """Anything but a right answer."""
        return [record for record in self.records if record.state != OK]

    @property
    def resent(self) -> int:
        """Requests that found their kept-alive connection closed and went out on another."""
        return sum(record.resent for record in self.records)

    @property
    def lag_p99_ms(self) -> float:
        """How late the generator itself was."""
        return quantile([(record.sent_s - record.due_s) * 1e3 for record in self.records], 0.99)

    def phase(self, name: str, since_s: float = -math.inf, until_s: float = math.inf) -> Phase:
        """The requests due in [since, until)."""
        return Phase.of(name, within(self.records, since_s, until_s))

    def explain(self) -> str:
        """What failed, most frequent first; "" when nothing did."""
        reasons = Counter(f"{record.state} over {record.door}: {record.detail}" for record in self.failures)
        return "\n".join(f"{count} x {reason}" for reason, count in reasons.most_common(8))

    def require_all_right(self) -> None:
        """Raises: AssertionError: not every request got a right answer, or the books do not close."""
        assert self.records, "nothing was sent"
        assert self.residual == 0, f"{self.residual} of {self.scheduled} requests are not accounted for"
        assert not self.failures, f"{len(self.failures)} of {self.scheduled} requests failed:\n{self.explain()}"


class Load:
    """A running generator.

    Args:
        settings: what it is told.
        directory: for its settings and its errors.
    """

    def __init__(self, settings: LoadSettings, directory: Path) -> None:
        self.path = Path(settings.records)
        self.path.unlink(missing_ok=True)
        self._offset = 0
        self._rest = ""
        self.seen: list[Record] = []
        told = directory / f"{self.path.stem}.settings.json"
        told.write_text(json.dumps(asdict(settings)))
        self._errors = (directory / f"{self.path.stem}.errors").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.app_load", str(told)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def look(self) -> list[Record]:
        """The requests that have ended so far, in the order in which they did."""
        if self.path.exists():
            with self.path.open() as file:
                file.seek(self._offset)
                text = self._rest + file.read()
                self._offset = file.tell()
            *lines, self._rest = text.split("\n")
            self.seen += [Record(*json.loads(line)) for line in lines]
        return self.seen

    def wait(self, true: Callable[[list[Record]], object], timeout_s: float = 30.0) -> None:
        """Wait until something holds of the requests that have ended.

        Raises: AssertionError: it does not come about, or the generator has died.
        """

        def holds() -> bool:
            assert self.process.poll() is None, f"the load generator died:\n{self.errors()}"
            return bool(true(self.look()))

        wait_for(holds, timeout_s)

    def wait_count(self, more: int, timeout_s: float = 30.0) -> None:
        """Wait until that many more have ended."""
        target = len(self.look()) + more
        self.wait(lambda records: len(records) >= target, timeout_s)

    def wait_mostly(self, site: str, of: int, timeout_s: float = 30.0) -> None:
        """Wait until a site has given nine of ten of the last answers; hedges may go elsewhere."""
        self.wait(lambda records: sum(record.site == site for record in records[-of:]) >= 0.9 * of, timeout_s)

    def errors(self) -> str:
        """What the generator complained of."""
        self._errors.seek(0)
        return self._errors.read()

    def finish(self) -> Ledger:
        """Stop sending, wait for what is under way, and close the books."""
        try:
            output, _ = self.process.communicate(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert self.process.returncode == 0, (
            f"the load generator ended with {self.process.returncode}:\n{self.errors()}"
        )
        self._errors.close()
        return Ledger(self.look(), json.loads(output)["scheduled"])

    def kill(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self._errors.close()


def quantile(values: Sequence[float], ratio: float) -> float:
    """The nearest-rank quantile; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(ratio * len(ordered)) - 1)]


def within(records: Iterable[Record], since_s: float, until_s: float) -> list[Record]:
    """Those that were due in [since, until)."""
    return [record for record in records if since_s <= record.due_s < until_s]
