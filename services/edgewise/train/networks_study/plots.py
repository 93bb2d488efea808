"""The plots of a comparison of networks."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from edgewise.study.cells import CLOUD, EDGE, GATEWAY
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.palette import INK, SOFT, series
from edgewise.study.report.plots_style import key, logarithmic, panels
from edgewise.study.report.wording import number, percent
from edgewise.train.networks_study.conclusions import TITLES, place_name
from edgewise.train.networks_study.findings import NetworksResult, Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MIB: Final = 2**20
_P99: Final = 0.99


def latency_table(result: NetworksResult) -> Table:
    """Every version at every place."""
    rows: list[tuple[str, ...]] = []
    for network in result.networks:
        for form in result.formats:
            for cell in result.asked.cells if result.asked else ():
                if cell.cell.model == f"{network}-{form}":
                    quantiles = [cell.quantiles_ms.get(ratio) for ratio in (0.5, 0.95, _P99)]
                    rows.append(
                        (
                            network,
                            TITLES[form],
                            place_name(cell.cell.target, cell.cell.profile),
                            *(number(one.value) if one else "–" for one in quantiles),
                            f"{cell.requests}",
                            percent(cell.availability.value),
                            percent(cell.accuracy.value),
                            number(result.capacity(network, form, cell.cell.target)),
                        )
                    )
    header = (
        "network",
        "format",
        "place",
        "p50, ms",
        "p95, ms",
        "p99, ms",
        "requests",
        "answered",
        "right",
        "most answers/s",
    )
    return Table(header, rows, 3)


def version_table(result: NetworksResult) -> Table:
    """Size and memory of every version."""
    rows = [
        (
            one.network,
            TITLES[one.form],
            number(one.size_bytes / _MIB),
            number(one.memory_bytes / _MIB),
            number(one.peak_bytes / _MIB),
            number(one.ready_s),
            percent(one.accuracy),
            percent(one.agreement),
        )
        for one in result.versions
    ]
    header = (
        "network",
        "format",
        "size, MiB",
        "memory, MiB",
        "at most, MiB",
        "ready after, s",
        "accuracy",
        "same verdict as float32",
    )
    return Table(header, rows, 2)


def training_table(result: NetworksResult) -> Table:
    """What each training cost."""
    rows = [
        (
            one.network,
            "head alone, on published weights" if one.weights != "none" else "everything",
            f"{one.parameters / 1e6:.1f}",
            number(one.seconds_an_epoch),
            number(one.images_per_s),
            number(one.peak_memory_bytes / _MIB),
            percent(one.accuracy),
            f"{one.test_images}",
        )
        for one in result.trainings
    ]
    header = (
        "network",
        "trained",
        "million parameters",
        "s an epoch",
        "pictures/s",
        "memory at most, MiB",
        "accuracy",
        "test pictures",
    )
    return Table(header, rows, 2)


def drawings(result: NetworksResult) -> dict[str, list[Drawing]]:
    """By the part of the report."""
    return {
        "deployment": list(_latencies(result)),
        "versions": list(_weights(result)),
        "training": list(_trainings(result)),
    }


def _latencies(result: NetworksResult) -> Iterator[Drawing]:
    if result.asked is None or not any(result.cells(*one) for one in _pairs(result)):
        return
    places = result.places

    def draw() -> "Figure":
        figure, (row,) = panels(
            1, len(places), width_in=3.1, height_in=0.5 + 0.42 * len(result.networks), sharex=True, sharey=True
        )
        for axes, place in zip(row, places, strict=True):
            _dots(axes, result, place)
            axes.set_title(place_name(*place))
            axes.set_xlabel("latency, ms")
            logarithmic(axes, "x")
        _networks_axis(row[0], result)
        key(figure, [TITLES[form] for form in result.formats])
        return figure

    yield Drawing(
        "latency",
        "Latency of every network, format and place",
        "Marker: the median of a request, in an open loop; the line ends at p99. From when a request was due to its answer, decoding of the picture "
        "included, with the emulated network between.",
        f"Median and p99 latency of {len(result.networks)} networks in {len(result.formats)} formats at {len(places)} places.",
        draw,
        latency_table(result),
    )


def _dots(axes: "Axes", result: NetworksResult, place: tuple[str, str]) -> None:
    looks = series([TITLES[form] for form in result.formats])
    for at, network in enumerate(result.networks):
        for shift, form in enumerate(result.formats):
            for cell in result.cells(network, form):
                if (cell.cell.target, cell.cell.profile) != place:
                    continue
                look = looks[TITLES[form]]
                low, high = (cell.quantiles_ms[ratio].value for ratio in (0.5, _P99))
                y = at + (shift - (len(result.formats) - 1) / 2) * 0.24
                axes.plot([low, high], [y, y], color=look.colour, linewidth=1)
                axes.plot([low], [y], color=look.colour, marker=look.marker, linestyle="")


def _networks_axis(axes: "Axes", result: NetworksResult) -> None:
    axes.set_yticks(range(len(result.networks)), list(result.networks))
    axes.set_ylim(len(result.networks) - 0.5, -0.5)


def _pairs(result: NetworksResult) -> list[tuple[str, str]]:
    return [(network, form) for network in result.networks for form in result.formats]


def _weights(result: NetworksResult) -> Iterator[Drawing]:
    if not result.versions:
        return
    wanted: tuple[tuple[str, Callable[[Any], float]], ...] = (
        ("size on disk, MiB", lambda one: one.size_bytes / _MIB),
        ("memory of the server, MiB", lambda one: one.memory_bytes / _MIB),
        ("ready after, s", lambda one: one.ready_s),
    )

    def draw() -> "Figure":
        figure, (row,) = panels(1, len(wanted), width_in=3.1, height_in=0.5 + 0.42 * len(result.networks), sharey=True)
        looks = series([TITLES[form] for form in result.formats])
        for axes, (label, value) in zip(row, wanted, strict=True):
            for one in result.versions:
                shift = (result.formats.index(one.form) - (len(result.formats) - 1) / 2) * 0.24
                _bar(axes, result.networks.index(one.network) + shift, value(one), looks[TITLES[one.form]].colour)
            axes.set_xlabel(label)
            axes.margins(x=0.2)
        _networks_axis(row[0], result)
        key(figure, [TITLES[form] for form in result.formats], areas=True)
        return figure

    yield Drawing(
        "size-and-memory",
        "Size, memory, and how soon a server is ready",
        "Size: the files of the model, without labels and golden inputs. Memory: resident, of a model server with this version alone, after 20 predictions. "
        "Ready: from the start of the process, golden inputs checked.",
        "Size on disk, resident memory of the server and time until it is ready, for each network and format.",
        draw,
        version_table(result),
    )


def _bar(axes: "Axes", y: float, value: float, colour: str, height: float = 0.2) -> None:
    axes.barh([y], [value], height=height, color=colour)
    axes.annotate(number(value), (value, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)


def _trainings(result: NetworksResult) -> Iterator[Drawing]:
    if not result.trainings:
        return
    wanted: tuple[tuple[str, Callable[[Training], float]], ...] = (
        ("seconds an epoch", lambda one: one.seconds_an_epoch),
        ("pictures a second", lambda one: one.images_per_s),
        ("memory at most, MiB", lambda one: one.peak_memory_bytes / _MIB),
        ("accuracy on the test split, %", lambda one: one.accuracy * 100),
    )

    def draw() -> "Figure":
        figure, (row,) = panels(
            1, len(wanted), width_in=2.5, height_in=0.5 + 0.3 * len(result.networks), top_in=0.1, sharey=True
        )
        for axes, (label, value) in zip(row, wanted, strict=True):
            for one in result.trainings:
                colour = INK.light if one.weights == "none" else SOFT.light
                _bar(axes, result.networks.index(one.network), value(one), colour, 0.45)
            axes.set_xlabel(label)
            axes.margins(x=0.25)
        _networks_axis(row[0], result)
        return figure

    yield Drawing(
        "training",
        "What training costs",
        "Each network trained by a process of its own. Lighter: begun from published weights, with the head alone trained on features that are computed "
        "once, which does not compare with the others."
        + (" The pictures are drawn: accuracy says little." if result.synthetic else ""),
        "Seconds an epoch, pictures a second, memory and accuracy of each training.",
        draw,
        training_table(result),
    )
    curves = [one for one in result.trainings if len(one.epochs) > 1]
    if curves:
        yield _curves(curves)


def _curves(trainings: Sequence[Training]) -> Drawing:
    # All that the palette has: networks are more than the three that `series` tells apart.
    looks = [*series((CLOUD, EDGE, GATEWAY)).values(), *series(("a", "b", "c")).values()]

    def draw() -> "Figure":
        figure, (row,) = panels(1, 2, width_in=3.6, height_in=2.3)
        for axes, name, label in zip(
            row, ("validation_loss", "validation_accuracy"), ("validation loss", "validation accuracy"), strict=True
        ):
            for one in trainings:
                look = looks[trainings.index(one) % len(looks)]
                values = [float(epoch[name]) for epoch in one.epochs]
                shown = [(at, value) for at, value in enumerate(values, 1) if math.isfinite(value)]
                axes.plot(
                    [at for at, _ in shown],
                    [value for _, value in shown],
                    color=look.colour,
                    marker=look.marker,
                    linestyle=look.dashes,
                )
            axes.set_xlabel("epoch")
            axes.set_ylabel(label)
            axes.set_xticks(range(1, max(len(one.epochs) for one in trainings) + 1))
        row[0].legend([one.network for one in trainings])
        return figure

    rows = [
        (
            one.network,
            f"{at}",
            *(
                number(float(epoch[name]))
                for name in ("learning_rate", "loss", "validation_loss", "validation_accuracy")
            ),
        )
        for one in trainings
        for at, epoch in enumerate(one.epochs, 1)
    ]
    return Drawing(
        "curves",
        "How they learned",
        "At the end of each epoch, on the validation split.",
        "Validation loss and accuracy by epoch.",
        draw,
        Table(("network", "epoch", "learning rate", "loss", "validation loss", "validation accuracy"), rows),
    )
