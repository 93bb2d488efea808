"""How much the test pictures say of pictures that nobody has seen: of how many sources they are, and how far chance may carry a share."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgewise.protocols.dataset_manifest import TEST, Dataset, DatasetImage
from edgewise.study.statistics import wilson


def sources_value(dataset: Dataset) -> dict[str, int]:
    """Of the test split, for run.json: how many sources are stated, and how many pictures state none."""
    stated, unstated = _counted(dataset.of_split(TEST))
    return {"stated": stated, "unstated": unstated}


def sources_text(images: Sequence[DatasetImage]) -> str:
    """In words. Pictures of one source are alike, so many of few sources prove less than their number says."""
    return _text(*_counted(images))


def tested_sources_text(found: Mapping[str, Any]) -> str:
    """The same of the test split of a training, by its run.json; "" where an earlier version wrote that."""
    value = found["dataset"].get("test_sources")
    return _text(value["stated"], value["unstated"]) if value else ""


def interval_text(share: float, images: int) -> str:
    """Wilson's 95 % interval of a share that is right; "" of no pictures."""
    if not images:
        return ""
    estimate = wilson(round(share * images), images)
    return f"95 % interval {estimate.low:.1%} to {estimate.high:.1%}"


def _counted(images: Sequence[DatasetImage]) -> tuple[int, int]:
    return len({image.source for image in images if image.source}), sum(not image.source for image in images)


def _text(stated: int, unstated: int) -> str:
    if not stated:
        return "of sources that nobody stated"
    more = f", {unstated:,} of sources that nobody stated" if unstated else ""
    return f"of {stated:,} source{'' if stated == 1 else 's'}{more}"
