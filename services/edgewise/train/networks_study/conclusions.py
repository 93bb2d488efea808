"""What follows from a comparison of networks, in words. Differences are called shown where the 95 % intervals do not overlap."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.study.cells import EDGE
from edgewise.study.report.wording import listing, milliseconds, number, percent, plural
from edgewise.study.results import CellResult, Estimate
from edgewise.train.networks_study.findings import NetworksResult

_MIB: Final = 2**20
_MEDIAN: Final = 0.5
_HARDLY: Final = 0.6
"""Accuracy below which a network is said to have hardly learned."""
TITLES: Final = {"tensorflow": "TensorFlow", "float32": "ONNX Runtime float32", "int8": "ONNX Runtime int8"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One conclusion.

    Attributes:
        heading: two or three words.
        text: one sentence that leads, and `points` below it.
        caution: it limits the others.
    """

    heading: str
    text: str
    points: tuple[str, ...] = ()
    caution: bool = False


def conclude(result: NetworksResult) -> list[Finding]:
    """In the order of the report: what to do, then what limits it."""
    found = [*_where(result), *_fastest(result), *_runtimes(result), *_numbers(result), *_trainings(result)]
    return [*found, *_cautions(result)]


def place_name(target: str, profile: str) -> str:
    """Where a version was asked, for people."""
    return f"{target} over {profile}" if profile else target


def median(cell: CellResult) -> Estimate:
    """Of its latencies, in ms."""
    return cell.quantiles_ms.get(_MEDIAN, Estimate(math.nan, math.nan, math.nan))


def best(result: NetworksResult, network: str, target: str, profile: str) -> tuple[str, CellResult] | None:
    """The format of a network that answers soonest at a place."""
    found = [
        (form, cell)
        for form in result.formats
        for cell in result.cells(network, form)
        if (cell.cell.target, cell.cell.profile) == (target, profile) and not math.isnan(median(cell).value)
    ]
    return min(found, key=lambda one: median(one[1]).value, default=None)


def _where(result: NetworksResult) -> Iterator[Finding]:
    """Edge or cloud, network by network."""
    clouds = [(target, profile) for target, profile in result.places if target != EDGE]
    if (EDGE, "") not in result.places or not clouds:
        return
    points = []
    for network in result.networks:
        near = best(result, network, EDGE, "")
        words = []
        for target, profile in clouds:
            far = best(result, network, target, profile)
            if near is not None and far is not None:
                words.append(_verdict(near[1], far[1], place_name(target, profile)))
        if near is not None and words:
            points.append(f"{network}: {'; '.join(words)} (edge: {TITLES[near[0]]}, {_ms(near[1])}).")
    if points:
        yield Finding("Which network where", "By the median latency of the best format at each place:", tuple(points))


def _verdict(near: CellResult, far: CellResult, place: str) -> str:
    edge, cloud = median(near), median(far)
    if edge.high < cloud.low:
        return f"the edge beats the {place} by {milliseconds(cloud.value - edge.value)}"
    if cloud.high < edge.low:
        return f"the {place} beats the edge by {milliseconds(edge.value - cloud.value)}"
    return f"no difference shown between the edge and the {place}"


def _fastest(result: NetworksResult) -> Iterator[Finding]:
    """The networks in the order of their speed at each place."""
    points = []
    for target, profile in result.places:
        found = [(network, one) for network in result.networks if (one := best(result, network, target, profile))]
        found.sort(key=lambda one: median(one[1][1]).value)
        if len(found) > 1:
            points.append(
                f"{place_name(target, profile)}: "
                + ", then ".join(f"{network} ({_ms(cell)} in {TITLES[form]})" for network, (form, cell) in found)
                + "."
            )
    if points:
        yield Finding("Fastest", "The order in which they answer, median latency:", tuple(points))


def _runtimes(result: NetworksResult) -> Iterator[Finding]:
    """TensorFlow against ONNX Runtime, both in float32."""
    points = []
    for network in result.networks:
        ratio = _ratio(result, network, "tensorflow", "float32")
        ours, theirs = result.version(network, "float32"), result.version(network, "tensorflow")
        words = []
        if ratio is not None:
            words.append(f"TensorFlow takes {number(ratio)} times as long at the edge")
        if ours is not None and theirs is not None:
            words.append(
                f"its server {_mib(theirs.memory_bytes)} of memory where ONNX Runtime's has {_mib(ours.memory_bytes)}"
            )
            words.append(f"is ready after {number(theirs.ready_s)} s, not {number(ours.ready_s)} s")
        if words:
            points.append(f"{network}: {listing(words)}.")
    if points:
        yield Finding(
            "TensorFlow or ONNX Runtime", "The same network in float32, as SavedModel and as ONNX:", tuple(points)
        )


def _numbers(result: NetworksResult) -> Iterator[Finding]:
    """float32 against int8 on ONNX Runtime."""
    points = []
    for network in result.networks:
        small, large = result.version(network, "int8"), result.version(network, "float32")
        if small is None or large is None:
            continue
        words = [f"int8 has {percent(small.size_bytes / large.size_bytes, 0)} of the size"]
        ratio = _ratio(result, network, "int8", "float32")
        if ratio is not None:
            words.append(f"takes {number(ratio)} times as long at the edge")
        words.append(f"gives the same verdict on {percent(small.agreement)} of the test pictures")
        words.append(f"its server has {_mib(small.memory_bytes)} of memory, not {_mib(large.memory_bytes)}")
        points.append(f"{network}: {listing(words)}.")
    if points:
        yield Finding("float32 or int8", "The same network on ONNX Runtime:", tuple(points))


def _trainings(result: NetworksResult) -> Iterator[Finding]:
    points = [
        f"{one.network}: {number(one.images_per_s)} pictures/s, {number(one.seconds_an_epoch)} s an epoch of {one.trained_images}, "
        f"{_mib(one.peak_memory_bytes)} at the most, {one.parameters / 1e6:.1f} million parameters; "
        f"{percent(one.accuracy)} right of {one.test_images} test pictures after {plural(len(one.epochs), 'epoch')}"
        + (", the head alone, on published weights." if one.weights != "none" else ", from drawn weights.")
        for one in sorted(result.trainings, key=lambda one: -one.images_per_s)
    ]
    if points:
        yield Finding("Training", "The quickest first:", tuple(points))


def _cautions(result: NetworksResult) -> Iterator[Finding]:
    if result.synthetic:
        yield _caution(
            "The pictures were drawn by a program: accuracy says whether training, export and serving fit together, and nothing about which "
            "network sees better. Latency, memory and size do not depend on what is on the pictures."
        )
    if result.reduced:
        yield _caution(
            f"Made small, to end soon: {listing(result.reduced)}. Figures in earnest take a dataset and epochs in earnest."
        )
    drawn = [one.network for one in result.trainings if one.weights == "none"]
    published = [one.network for one in result.trainings if one.weights != "none"]
    if drawn and published:
        yield _caution(
            f"{listing(published)} began from published weights, and only the head was trained, on features that are computed once; "
            f"{listing(drawn)} learned everything from drawn weights. Neither seconds an epoch nor accuracy compare between the two."
        )
    elif drawn:
        yield _caution(
            "All weights were drawn before training: after so few epochs the latencies are right and the accuracies are not what the networks can do."
        )
    yield from _in_turn(result)
    busy = result.environment.get("load while training", "")
    if busy:
        yield _caution(
            f"Beside training, the machine had this to do: {busy}; what is slow may have been waiting. {_asking(result)}"
        )
    if result.missing:
        yield _caution(f"Missing: {listing(list(result.missing)[:8])}; the reasons are at the end.")


def _in_turn(result: NetworksResult) -> Iterator[Finding]:
    if result.asked is not None:
        yield _caution(
            "Networks and formats are asked one after the other: where the machine was not equally busy all the time, a difference between two of them "
            "may be that of the moment. Places of one version are asked in turn, and compare."
        )
    if any(one.accuracy < _HARDLY for one in result.trainings):
        yield _caution(
            "A network that has hardly learned says the same of nearly every picture: that its int8 agrees then proves little."
        )


def _asking(result: NetworksResult) -> str:
    before = result.environment.get("load before asking", "")
    return (
        f"Before the servers were asked it was {before}; the generator's own lag voids runs that it spoils."
        if before
        else ""
    )


def _caution(text: str) -> Finding:
    return Finding("", text.strip(), caution=True)


def _ratio(result: NetworksResult, network: str, form: str, other: str) -> float | None:
    """How many times as long a format takes as another, at the edge; None where either was not measured."""
    values = [_edge_median(result, network, one) for one in (form, other)]
    return None if any(math.isnan(value) for value in values) else values[0] / values[1]


def _edge_median(result: NetworksResult, network: str, form: str) -> float:
    cells: Sequence[CellResult] = [one for one in result.cells(network, form) if one.cell.target == EDGE]
    return median(cells[0]).value if cells else math.nan


def _ms(cell: CellResult) -> str:
    return milliseconds(median(cell).value)


def _mib(size: int) -> str:
    return f"{number(size / _MIB)} MiB"
