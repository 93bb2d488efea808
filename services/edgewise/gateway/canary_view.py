"""What the canaries have counted, as plain data: for `GET /edgewise/v1/canaries`, and to add up processes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import sqrt
from typing import TYPE_CHECKING, Any, Final

from edgewise.gateway.canaries import LATENCY_BOUNDS_MS
from edgewise.protocols.canaries import setting_value

if TYPE_CHECKING:
    from edgewise.gateway.canaries import Arm, Canaries, Canary

View = dict[str, Any]
"""As `own_canaries` makes it; survives JSON."""

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
ARMS: Final = ("old", "new")
_ARM_COUNTS: Final = ("count", "errors", "timed", "slow")
_SHADOW_COUNTS: Final = ("shadowed", "disagreed", "shadow_errors")
_IDENTITY: Final = ("site", "model", "old", "new", "key")
# Of one bucket: its upper bound times this is its middle.
_MIDDLE: Final = sqrt(LATENCY_BOUNDS_MS[0] / LATENCY_BOUNDS_MS[1])


def own_canaries(canaries: "Canaries") -> View:
    """What this process has in force and has counted."""
    return {"generation": canaries.settings.generation, "canaries": [_own(canary) for canary in canaries]}


def _own(canary: "Canary") -> dict[str, Any]:
    return {
        **setting_value(canary.setting),
        **{f"{name}_{part}": getattr(arm, part) for name, arm in _arms(canary) for part in _ARM_COUNTS},
        **{name: getattr(canary, name) for name in _SHADOW_COUNTS},
        **{
            f"{name}_buckets": {str(place): count for place, count in enumerate(arm.latency_ms.counts) if count}
            for name, arm in _arms(canary)
        },
    }


def _arms(canary: "Canary") -> "tuple[tuple[str, Arm], ...]":
    return tuple(zip(ARMS, (canary.old, canary.new), strict=True))


def merged_canaries(views: Sequence[View]) -> list[dict[str, Any]]:
    """The canaries of several processes as those of one; settings are those of the process that is ahead."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for view in sorted(views, key=lambda view: view["generation"], reverse=True):
        for canary in view["canaries"]:
            identity = tuple(canary[name] for name in _IDENTITY)
            known = found.get(identity)
            found[identity] = canary if known is None else _added(known, canary)
    return list(found.values())


def _added(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    counts = [*_SHADOW_COUNTS, *(f"{name}_{part}" for name in ARMS for part in _ARM_COUNTS)]
    return {
        **first,
        **{name: first[name] + second[name] for name in counts},
        **{name: dict(Counter(first[name]) + Counter(second[name])) for name in ("old_buckets", "new_buckets")},
    }


def shown_canaries(views: Sequence[View], silent: int) -> dict[str, Any]:
    """What `/edgewise/v1/canaries` answers.

    Args:
        views: of this process and of the others that answered.
        silent: how many others did not; what they have in force is not known.
    """
    return {
        "workers": len(views),
        "silent": silent,
        "generation": min(view["generation"] for view in views),
        "canaries": [shown_canary(canary) for canary in merged_canaries(views)],
    }


def shown_canary(canary: Mapping[str, Any]) -> dict[str, Any]:
    """One of `merged_canaries` with quantiles in place of buckets."""
    shown = {name: value for name, value in canary.items() if not name.endswith("_buckets")}
    for name in ARMS:
        shown[f"{name}_ms"] = _quantiles(canary[f"{name}_buckets"])
    return shown


def _quantiles(buckets: Mapping[str, int]) -> dict[str, Any]:
    """Quantiles of a latency in milliseconds, each within 2.2 %; null where nothing was counted."""
    places = sorted((int(place), count) for place, count in buckets.items())
    cumulated = list(accumulate(count for _, count in places))
    count = cumulated[-1] if cumulated else 0
    found = {}
    for quantile in QUANTILES:
        rank = next((index for index, below in enumerate(cumulated) if below >= quantile * count), None)
        found[f"{quantile:g}"] = None if rank is None else round(_middle_ms(places[rank][0]), 4)
    return {"count": count, "quantiles": found}


def _middle_ms(place: int) -> float:
    return LATENCY_BOUNDS_MS[min(place, len(LATENCY_BOUNDS_MS) - 1)] * _MIDDLE
