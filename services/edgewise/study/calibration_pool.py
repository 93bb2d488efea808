"""Calibrations of one thing, made at several times of a study, as one.

A machine's speed drifts by several percent within minutes, so what the runs of an hour are compared with is the mean of what was
found between them, and how far that scattered says how sure it is.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from edgewise.study.planning import Calibrated
from edgewise.study.results import Calibration


def pooled(calibrations: Iterable[Calibration]) -> tuple[Calibration, ...]:
    """One for each target, model, protocol and batching, in the order of the first ones."""
    alike: dict[Calibrated, list[Calibration]] = defaultdict(list)
    for one in calibrations:
        alike[Calibrated.of(one)].append(one)
    return tuple(map(_one, alike.values()))


def _one(found: Sequence[Calibration]) -> Calibration:
    """The mean of calibrations of the same thing."""
    first = found[0]
    if len(found) == 1:
        return first
    # How large batches become, and whether a pause tells anything, may come out differently; what most say is taken.
    sized = _most(found, lambda one: len(one.capacity_per_s))
    paused = _most(found, lambda one: len(one.pauses_ms))
    return replace(
        first,
        base_ms=fmean(one.base_ms for one in found),
        base_samples_ms=tuple(value for one in found for value in one.base_samples_ms),
        base_error_ratio=_error_ratio([one.base_ms for one in found], [one.base_error_ratio for one in found]),
        capacity_per_s=_means([one.capacity_per_s for one in sized]),
        capacity_error_ratio=_error_ratio(
            [one.capacity_per_s[-1] for one in sized], [one.capacity_error_ratio for one in sized]
        ),
        largest_batch=sized[0].largest_batch,
        service_scv=fmean(one.service_scv for one in found),
        request_bytes=round(fmean(one.request_bytes for one in found)),
        request_bytes_scv=fmean(one.request_bytes_scv for one in found),
        response_bytes=round(fmean(one.response_bytes for one in found)),
        pauses_ms=_means([one.pauses_ms for one in paused]),
        pause_costs_ms=_means([one.pause_costs_ms for one in paused]),
    )


def _most(found: Sequence[Calibration], size: Callable[[Calibration], int]) -> list[Calibration]:
    """Those of the size that most have; of several, the largest."""
    sizes = [size(one) for one in found]
    wanted = max(sizes, key=lambda one: (sizes.count(one), one))
    return [one for one in found if size(one) == wanted]


def _means(rows: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(map(fmean, zip(*rows, strict=True)))


def _error_ratio(values: Sequence[float], ratios: Sequence[float]) -> float:
    """Standard error of the mean, as a share of it: what each of them had, or what they scatter if that is more."""
    own = math.hypot(*ratios) / len(ratios)
    if len(values) < 2:
        return own
    return max(own, stdev(values) / fmean(values) / math.sqrt(len(values)))
