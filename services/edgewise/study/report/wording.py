"""Numbers and lists as people read them: three significant digits, units, "a, b and c"."""

import math
from collections.abc import Callable, Iterable

from edgewise.study.results import Estimate

NOTHING = "–"
"""Stands where there is no number."""


def number(value: float, digits: int = 3) -> str:
    """A number with that many significant digits, thousands set apart, never in powers of ten."""
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{round(value, decimals):,.{min(decimals, 9)}f}"
    return text.replace("-", "−")


def count(value: int) -> str:
    """A whole number."""
    return f"{value:,}".replace("-", "−")


def milliseconds(value: float) -> str:
    """With its unit."""
    return f"{number(value)} ms" if not math.isnan(value) else NOTHING


def nominal(value_ms: float) -> str:
    """Of what was set, not measured: `40 ms`."""
    return f"{value_ms:,g} ms"


def rate(value: float) -> str:
    """With its unit: 60 requests/s."""
    return f"{value:,g} requests/s"


def rates(values: Iterable[float]) -> str:
    """Several: 10, 20 and 40 requests/s."""
    return f"{listing(f'{value:,g}' for value in values)} requests/s"


def percent(ratio: float, digits: int = 2) -> str:
    """Of a ratio. What is not all is never shown as 100 %, nor what is more than nothing as 0 %."""
    if math.isnan(ratio):
        return NOTHING
    value = 100 * ratio
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"
    least = 10.0**-digits
    if ratio < 1 and text == "100":
        return f"over {100 - least:g} %"
    if ratio > 0 and text in {"0", "-0"}:
        return f"under {least:g} %"
    return f"{text} %".replace("-", "−")


def interval(estimate: Estimate, text: Callable[[float], str] = number) -> str:
    """`12.3 (11.9 to 12.8)`, without a unit, unless `text` gives it one."""
    if math.isnan(estimate.value):
        return NOTHING
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return f"{text(estimate.value)} (no interval)"
    return f"{text(estimate.value)} ({text(estimate.low)} to {text(estimate.high)})"


def share(estimate: Estimate) -> str:
    """`99.2 % (98.8 % to 99.6 %)`."""
    return interval(estimate, percent)


def listing(words: Iterable[str], last: str = "and") -> str:
    """`a, b and c`."""
    found = list(words)
    if len(found) < 2:
        return "".join(found)
    return f"{', '.join(found[:-1])} {last} {found[-1]}"


def plural(value: int, one: str, several: str = "") -> str:
    """`1 cell`, `2 cells`."""
    return f"{count(value)} {one if value == 1 else several or one + 's'}"
