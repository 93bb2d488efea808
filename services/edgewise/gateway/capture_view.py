"""What capturing has counted, as plain data: for `GET /edgewise/v1/capture`, for `/metrics`, and to add up processes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewise.gateway.capture import Capture, CapturedModel

View = dict[str, Any]
"""As `own_capture` makes it; survives JSON."""

_COUNTS = ("accepted", "compared", "disagreed", "questions_skipped", "in_pieces", "waiting")


def own_capture(capture: "Capture | None") -> View | None:
    """What this process has counted; None where nothing is captured."""
    if capture is None:
        return None
    found = capture.queue
    spool = found.spool.counters
    dropped = [[reason, "", count] for reason, count in capture.dropped.items() if count]
    dropped += [[reason, str(priority), count] for (reason, priority), count in list(spool.dropped.items())]
    return {
        "site": capture.config.site,
        "directory": str(capture.config.directory),
        "max_bytes": capture.config.max_bytes,
        "spool_bytes": spool.bytes_on_disk,
        "accepted": spool.accepted,
        "compared": found.compared,
        "disagreed": found.disagreed,
        "questions_skipped": capture.questions.skipped,
        "in_pieces": capture.in_pieces,
        "waiting": found.waiting,
        "dropped": dropped,
        "models": {name: _model(model) for name, model in capture.models.items()},
    }


def _model(model: "CapturedModel") -> dict[str, Any]:
    chooser = model.chooser
    return {
        "chosen": dict(chooser.chosen),
        "limited": dict(chooser.limited),
        "drift": [[site, version, round(index, 4)] for (site, version), index in chooser.drifting().items()],
    }


def merged_captures(views: Sequence[View | None]) -> View | None:
    """The views of several processes, which share a directory, as that of one; None where none of them captures."""
    found = [view for view in views if view is not None]
    if len(found) < 2:
        return found[0] if found else None
    dropped: Counter[tuple[str, str]] = Counter()
    for view in found:
        for reason, priority, count in view["dropped"]:
            dropped[reason, priority] += count
    names = dict.fromkeys(name for view in found for name in view["models"])
    return {
        **found[0],
        **{name: sum(view[name] for view in found) for name in _COUNTS},
        # Each of them knows of the whole directory, some a little later than others.
        "spool_bytes": max(view["spool_bytes"] for view in found),
        "dropped": [[*key, count] for key, count in dropped.items()],
        "models": {name: _merged([view["models"][name] for view in found if name in view["models"]]) for name in names},
    }


def _merged(models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    drift: dict[tuple[str, int], float] = {}
    for model in models:
        for site, version, index in model["drift"]:
            drift[site, version] = max(index, drift.get((site, version), 0.0))
    return {
        "chosen": _summed(model["chosen"] for model in models),
        "limited": _summed(model["limited"] for model in models),
        "drift": [[*origin, index] for origin, index in drift.items()],
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def shown_capture(views: Sequence[View | None]) -> dict[str, Any]:
    """What `/edgewise/v1/capture` answers.

    Args:
        views: of this process and of the others that answered.
    """
    found = merged_captures(views)
    if found is None:
        return {"enabled": False}
    return {
        "enabled": True,
        **found,
        "dropped": [
            {"reason": reason, "priority": int(priority) if priority else None, "count": count}
            for reason, priority, count in found["dropped"]
        ],
        "models": {
            name: {
                **model,
                "drift": [
                    {"site": site, "version": version, "index": index} for site, version, index in model["drift"]
                ],
            }
            for name, model in found["models"].items()
        },
    }
