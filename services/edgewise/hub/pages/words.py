"""Numbers and times as people read them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

_SIZES: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")
_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86400.0
_LEAST_SHOWN: Final = 5e-5


def size(count: float) -> str:
    """4.7 MB; thousands as disks and links count them."""
    value, power = float(count), 0
    while value >= 999.5 and power < len(_SIZES) - 1:
        value, power = value / 1000.0, power + 1
    digits = 0 if power == 0 or value >= 99.95 else 1
    return f"{value:.{digits}f} {_SIZES[power]}"


def rate(bytes_per_s: float) -> str:
    """1.2 MB/s."""
    return f"{size(bytes_per_s)}/s"


def length(seconds: float) -> str:
    """How long something takes: 45 s, 12 min, 3.5 h, 2 days."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * _MINUTE_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:.0f} days"


def ago(moment_s: float | None, now_s: float) -> str:
    """How long ago something was, of which the two clocks are one: 12 s ago."""
    if moment_s is None:
        return "never"
    passed_s = max(now_s - moment_s, 0.0)
    return "just now" if passed_s < 1.0 else f"{length(passed_s)} ago"


def moment(moment_s: float) -> str:
    """2026-11-23 10:00:00 UTC."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def share(ratio: float) -> str:
    """10 %, 0.5 %."""
    return f"{ratio * 100.0:.3g} %"


def points(difference: float) -> str:
    """A difference of two shares, with its sign: +0.4 %, −2 %, 0 %."""
    if abs(difference) < _LEAST_SHOWN:
        return "0 %"
    return f"{'+' if difference > 0.0 else '−'}{float(f'{abs(difference) * 100.0:.2g}'):g} %"


def milliseconds(value: float) -> str:
    """8.4 ms, 120 ms."""
    if not math.isfinite(value):
        return "unknown"
    return f"{value:.1f} ms" if value < 9.95 else f"{value:,.0f} ms"


def answer(prediction: str, scores: Sequence[tuple[str, float]], confidence: float | None) -> str:
    """What a model said, and how sure it was of that: "dog 60 %". A verdict over many classes has no score of its own: "other (skunk 12 %)".

    Args:
        scores: labels and what the model gave them, the best first.
    """
    by_label = dict(scores)
    if prediction in by_label:
        return f"{prediction} {share(by_label[prediction])}"
    if scores:
        return f"{prediction} ({scores[0][0]} {share(scores[0][1])})"
    return prediction if confidence is None else f"{prediction} (confidence {share(confidence)})"
