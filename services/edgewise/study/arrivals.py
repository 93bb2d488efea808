"""When requests are due: seeded schedules, made before the run, so that no answer can hold a request back.

A process says how arrivals follow one another at rate 1; a shape says how the rate moves over the run. Time is rescaled:
with L(t) the arrivals expected until t, the k-th arrival of the process, at v(k), is due at the t where L(t) = v(k). A
shape is linear between its points, so L is quadratic there and inverted exactly; nothing is thinned and nothing rounded but
to nanoseconds.

Source: Cinlar, "Introduction to Stochastic Processes", 1975, section 4.7 (non-homogeneous Poisson processes).
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.scenario import Arrivals

MAX_REQUESTS: Final = 50_000_000
"""Of one schedule: 400 MB of due times."""

_MAX_FACTOR: Final = 1e6
_MAX_ROWS: Final = 10_000_000
_CHUNK: Final = 1 << 20  # values inverted at once, which take ten times their memory
_DAY_POINTS: Final = 97  # one a quarter of an hour
_NUMBER: Final = r"(\d+(?:\.\d*)?|\.\d+)"
_RANGE: Final = re.compile(rf"{_NUMBER}\s*\.\.\s*{_NUMBER}")
_SPIKE: Final = re.compile(rf"{_NUMBER}\s*x\s+at\s+{_NUMBER}\s*%\s+for\s+{_NUMBER}\s*%")
_WORDS: Final = (
    '"constant", "ramp 0.2..1", "steps 0.5,1,2", "spike 3x at 40% for 10%", "day 0.3..1" and "custom FILE.csv"'
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rate moves over a run: a factor that is linear between points, and constant before and behind them.

    Attributes:
        text: as it was given.
        at: of each point, rising; two points at one place are a jump.
        factor: there, times the rate.
        unit: of `at`: "ratio" of the run's length, or "s" from its start.
    """

    text: str
    at: tuple[float, ...]
    factor: tuple[float, ...]
    unit: str = "ratio"

    def factor_at(self, elapsed_s: float, duration_s: float) -> float:
        """The factor at one moment of a run; at a jump, the one behind it."""
        at = elapsed_s if self.unit == "s" else elapsed_s / duration_s
        index = int(np.searchsorted(self.at, at, side="right"))
        if index == 0:
            return self.factor[0]
        if index == len(self.at):
            return self.factor[-1]
        left, right = self.at[index - 1], self.at[index]
        return self.factor[index - 1] + (self.factor[index] - self.factor[index - 1]) * (at - left) / (right - left)

    def mean_factor(self, duration_s: float) -> float:
        """Over a run of that length: expected requests are this, times the rate, times the length."""
        return float(self._cumulative(*self._points(duration_s))[-1]) / duration_s

    def peak_factor(self) -> float:
        """The highest there is."""
        return max(self.factor)

    def times_s(self, arrivals: NDArray[np.float64], rate: float, duration_s: float) -> NDArray[np.float64]:
        """When that many requests are expected: the inverse of the cumulative rate.

        Args:
            arrivals: float64 [n], rising from 0.
            rate: requests a second at factor 1.
        Returns: float64 [k], seconds, rising; those that are expected within the run.
        """
        at_s, factor = self._points(duration_s)
        cumulative = self._cumulative(at_s, factor)
        wanted = arrivals / rate
        wanted = wanted[: int(np.searchsorted(wanted, cumulative[-1], side="left"))]
        times_s = np.empty_like(wanted)
        for start in range(0, len(wanted), _CHUNK):
            part = slice(start, start + _CHUNK)
            times_s[part] = _inverse(wanted[part], cumulative, at_s, factor)
        return np.maximum.accumulate(times_s) if len(times_s) else times_s

    def _points(self, duration_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times and factors from 0 to the end of the run."""
        at_s = np.asarray(self.at, np.float64) * (1.0 if self.unit == "s" else duration_s)
        factor = np.asarray(self.factor, np.float64)
        inside = (at_s >= 0.0) & (at_s <= duration_s)
        last = self.factor_at(duration_s, duration_s) if self.unit == "s" else self.factor[-1]
        at_s = np.concatenate(([0.0], at_s[inside], [duration_s]))
        return at_s, np.concatenate(([self.factor[0]], factor[inside], [last]))

    @staticmethod
    def _cumulative(at_s: NDArray[np.float64], factor: NDArray[np.float64]) -> NDArray[np.float64]:
        areas = (factor[1:] + factor[:-1]) / 2 * np.diff(at_s)
        return np.concatenate(([0.0], np.cumsum(areas)))


def _inverse(
    wanted: NDArray[np.float64], cumulative: NDArray[np.float64], at_s: NDArray[np.float64], factor: NDArray[np.float64]
) -> NDArray[np.float64]:
    """When the integral of the factor reaches each wanted value.

    Args:
        wanted: float64 [n], within those of `cumulative`.
        cumulative, at_s, factor: float64 [points]: the integral, the time and the factor at each.
    Returns: float64 [n], seconds.
    """
    # Behind a point where several meet, since nothing is due where the rate is zero.
    index = np.clip(np.searchsorted(cumulative, wanted, side="right") - 1, 0, len(at_s) - 2)
    length_s = at_s[index + 1] - at_s[index]
    # Rounding may not take it out of its part, however short that is.
    missing = np.clip(wanted - cumulative[index], 0.0, cumulative[index + 1] - cumulative[index])
    mean = np.divide(missing, length_s, out=np.zeros_like(missing), where=length_s > 0)
    first, change = factor[index], factor[index + 1] - factor[index]
    # The form of the root that stays exact as the change goes to zero.
    root = first + np.sqrt(np.maximum(first**2 + 2 * change * mean, 0.0))
    within = np.divide(2 * mean, root, out=np.zeros_like(missing), where=root > 0)
    times_s: NDArray[np.float64] = at_s[index] + length_s * np.clip(within, 0.0, 1.0)
    return times_s


CONSTANT: Final = Shape("constant", (0.0, 1.0), (1.0, 1.0))


def parse_shape(text: str) -> Shape:
    """A shape from its words.

    Args:
        text: "constant"; "ramp 0.2..1" from one factor to another; "steps 0.5,1,2" of equal length; "spike 3x at 40% for
            10%" of the run, 1 elsewhere; "day 0.3..1", a day from midnight to midnight with its lowest and highest
            factor; "custom FILE.csv" with the columns `at_ratio` (of the run) or `offset_s`, and `factor`.
    Raises: InvalidArgumentError: it is none of these, or would never send anything.
    """
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    shape: Shape | None = None
    if word == "constant" and not rest:
        shape = CONSTANT
    elif word == "ramp" and (match := _RANGE.fullmatch(rest)):
        shape = Shape(text, (0.0, 1.0), (float(match[1]), float(match[2])))
    elif word == "day" and (match := _RANGE.fullmatch(rest)):
        shape = _day(text, float(match[1]), float(match[2]))
    elif word == "steps" and rest:
        shape = _steps(text, rest)
    elif word == "spike" and (match := _SPIKE.fullmatch(rest)):
        shape = _spike(text, float(match[1]), float(match[2]) / 100, float(match[3]) / 100)
    elif word == "custom" and rest:
        shape = _custom(text, Path(rest))
    if shape is None:
        raise InvalidArgumentError(f"the load shape {text!r} is not understood; expected one of {_WORDS}")
    if not max(shape.factor) > 0:
        raise InvalidArgumentError(f"the load shape {text!r} never sends anything: a factor over 0 is needed")
    if max(shape.factor) > _MAX_FACTOR:
        raise InvalidArgumentError(f"the load shape {text!r} has a factor over {_MAX_FACTOR:g}")
    return shape


def _steps(text: str, rest: str) -> Shape | None:
    try:
        factors = [float(word) for word in rest.split(",")]
    except ValueError:
        return None
    if not all(math.isfinite(factor) and factor >= 0 for factor in factors):
        return None
    at: list[float] = []
    both: list[float] = []
    for index, factor in enumerate(factors):
        at += [index / len(factors), (index + 1) / len(factors)]
        both += [factor, factor]
    return Shape(text, tuple(at), tuple(both))


def _spike(text: str, times: float, start: float, length: float) -> Shape:
    if not (length > 0 and start + length <= 1 + 1e-9):
        raise InvalidArgumentError(f"the load shape {text!r} has a spike that is empty or ends behind 100 % of the run")
    end = min(1.0, start + length)
    return Shape(text, (0.0, start, start, end, end, 1.0), (1.0, 1.0, times, times, 1.0, 1.0))


def _day(text: str, low: float, high: float) -> Shape:
    at = np.linspace(0.0, 1.0, _DAY_POINTS)
    factor = low + (high - low) * (1 - np.cos(2 * np.pi * at)) / 2
    return Shape(text, tuple(at.tolist()), tuple(factor.tolist()))


def _custom(text: str, path: Path) -> Shape:
    names, rows = _read_csv(path, ["at_ratio", "factor"], ["offset_s", "factor"])
    at, factor = rows[:, 0], rows[:, 1]
    unit = "s" if names[0] == "offset_s" else "ratio"
    if np.any(np.diff(at) < 0) or at[0] < 0 or (unit == "ratio" and at[-1] > 1):
        raise InvalidArgumentError(f"{path}: {names[0]} has to rise from 0{'' if unit == 's' else ' to 1'}")
    if np.any(factor < 0):
        raise InvalidArgumentError(f"{path}: a factor is below 0")
    return Shape(text, tuple(at.tolist()), tuple(factor.tolist()), unit)


def read_trace(path: Path) -> NDArray[np.float64]:
    """The offsets of recorded arrivals.

    Args:
        path: CSV, one column `offset_s`, rising from 0 on.
    Returns: float64 [n], seconds.
    Raises: InvalidArgumentError: it is no such file.
    """
    _, rows = _read_csv(path, ["offset_s"])
    offsets_s: NDArray[np.float64] = rows[:, 0]
    falls = np.flatnonzero(np.diff(offsets_s) < 0)
    if offsets_s[0] < 0 or len(falls):
        line = 2 if offsets_s[0] < 0 else int(falls[0]) + 3
        raise InvalidArgumentError(f"{path}, line {line}: offset_s has to rise from 0 on")
    return offsets_s


def _read_csv(path: Path, *allowed: list[str]) -> tuple[list[str], NDArray[np.float64]]:
    """The names of the first line, which are allowed ones, and at least one row of finite numbers, float64 [n, columns]."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            names = [name.strip() for name in next(lines, [])]
            if names not in allowed:
                expected = " or ".join(repr(",".join(each)) for each in allowed)
                raise InvalidArgumentError(f"{path}: the first line is {','.join(names)!r}; expected {expected}")
            values = np.fromiter(_numbers(path, lines, len(names)), np.float64)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgumentError(f"{path} is no CSV file: {error}") from None
    rows = values.reshape(-1, len(names))
    if not len(rows):
        raise InvalidArgumentError(f"{path} has no rows below its first line")
    if not np.all(np.isfinite(rows)):
        raise InvalidArgumentError(f"{path} has a value that is not finite")
    return names, rows


def _numbers(path: Path, rows: Iterable[list[str]], columns: int) -> Iterator[float]:
    """The values of all rows in their order; empty lines are none."""
    for line, row in enumerate(rows, 2):
        if row and len(row) != columns:
            raise InvalidArgumentError(f"{path}, line {line}: {len(row)} values; expected {columns}")
        if line > _MAX_ROWS:
            raise InvalidArgumentError(f"{path} has more than {_MAX_ROWS:,} lines")
        try:
            yield from map(float, row)
        except ValueError:
            raise InvalidArgumentError(f"{path}, line {line}: {','.join(row)!r} is no number") from None


def schedule(  # noqa: PLR0917 - the order in which people say it
    process: Arrivals,
    rate: float,
    duration_s: float,
    shape: Shape,
    seed: int,
    trace: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """When each request of a run is due.

    Args:
        process: "poisson"; "constant", whose first request is due at once; "trace".
        rate: requests a second at factor 1. A trace is played at the pace that makes its mean rate this, again from its
            start when it is over; 0 plays it once, as it was recorded, whatever the shape.
        duration_s: of the run.
        seed: of "poisson"; the same one gives the same bytes.
        trace: offsets in seconds, rising; for "trace" only.
    Returns: int64 [n], nanoseconds after the start, rising, below the duration.
    Raises: InvalidArgumentError: there is no such schedule.
    """
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise InvalidArgumentError(f"a run of {duration_s:g} s is impossible: the duration has to be over 0")
    recorded = process == "trace" and rate == 0
    if not recorded and not (math.isfinite(rate) and rate > 0):
        raise InvalidArgumentError(f"a rate of {rate:g} requests/s is impossible: it has to be over 0")
    expected = 0.0 if recorded else rate * duration_s * shape.mean_factor(duration_s)
    if expected > MAX_REQUESTS:
        raise InvalidArgumentError(
            f"{rate:g} requests/s for {duration_s:g} s are {expected:,.0f} requests; at most {MAX_REQUESTS:,} fit in a run"
        )
    if process == "poisson":
        times_s = shape.times_s(_poisson(expected, seed), rate, duration_s)
    elif process == "constant":
        times_s = shape.times_s(np.arange(math.ceil(expected) + 1, dtype=np.float64), rate, duration_s)
    elif process == "trace":
        if trace is None or not len(trace):
            raise InvalidArgumentError("a schedule of kind trace needs a trace: the file of its offsets is not given")
        times_s = trace if recorded else shape.times_s(_replayed(trace, expected), rate, duration_s)
    else:
        raise InvalidArgumentError(f"arrivals {process!r} are unknown; expected poisson, constant or trace")
    due_ns = (np.asarray(times_s, np.float64) * 1e9).astype(np.int64)
    return due_ns[: int(np.searchsorted(due_ns, int(duration_s * 1e9), side="left"))]


def _poisson(expected: float, seed: int) -> NDArray[np.float64]:
    """Arrivals of the Poisson process of rate 1 until `expected`, and some behind."""
    generator = np.random.Generator(np.random.PCG64(seed))
    step = math.ceil(expected + 6 * math.sqrt(expected)) + 16
    arrivals = np.cumsum(generator.standard_exponential(step))
    while arrivals[-1] < expected:
        more = arrivals[-1] + np.cumsum(generator.standard_exponential(step))
        arrivals = np.concatenate((arrivals, more))
    return arrivals


def _replayed(trace: NDArray[np.float64], expected: float) -> NDArray[np.float64]:
    """The trace at a mean rate of 1, from its first arrival, as often as it takes."""
    count = len(trace)
    mean_gap_s = float(trace[-1] - trace[0]) / (count - 1) if count > 1 else 0.0
    if not mean_gap_s > 0:
        raise InvalidArgumentError(
            "a trace whose arrivals are all at one time has no rate that could be changed; give the rate 0 to play it as it is"
        )
    once = (trace - trace[0]) / mean_gap_s
    rounds = math.ceil(expected / count) + 1
    starts = np.arange(rounds, dtype=np.float64) * count
    arrivals: NDArray[np.float64] = (starts[:, None] + once[None, :]).reshape(-1)
    return arrivals[: math.ceil(expected) + count]


def arrival_scv(due_ns: NDArray[np.int64]) -> float:
    """Squared coefficient of variation of the gaps: 0 for constant, about 1 for Poisson arrivals.

    Returns: nan with fewer than two gaps, or when all are due at once.
    """
    gaps = np.diff(due_ns).astype(np.float64)
    mean = float(gaps.mean()) if len(gaps) > 1 else 0.0
    return float(gaps.var()) / mean**2 if mean > 0 else math.nan
