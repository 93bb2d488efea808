"""The page of a training: what came out, the curves, the mistakes, and how it was done."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from edgewise.study.report.drawings import Plot
from edgewise.study.report.html_document import framed
from edgewise.study.report.html_parts import definitions, figure, folded, folded_table, paragraph, section
from edgewise.train import ancestry
from edgewise.train.curves import Epoch, duration
from edgewise.train.plots import epochs_table
from edgewise.train.witnesses import interval_text, tested_sources_text

_STYLE: Final = """.mistakes { display: flex; flex-wrap: wrap; gap: 14px; list-style: none; padding: 0; margin: 10px 0 0; }
.mistakes li { width: 132px; font-size: 13px; line-height: 1.35; }
.mistakes img { width: 132px; height: 132px; object-fit: cover; border-radius: 6px; display: block; margin-bottom: 4px; background: var(--shade); }
"""
SYNTHETIC: Final = "Synthetic: pictures were drawn by a program, and this holds for drawn ones, not for photographs."
_NEXT_TO_NOTHING: Final = 0.01
"""A loss that leaves each picture's class at a probability of 99 % in the mean."""
_CURVES: Final = ("learning-rate", "loss", "accuracy")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture that was called something else.

    Attributes:
        jpeg: a small picture; b"" when it can no longer be read.
    """

    file: str
    actual: str
    called: str
    sure: float
    jpeg: bytes


def page(
    found: Mapping[str, Any], epochs: Sequence[Epoch], plots: Sequence[Plot], mistakes: Sequence[Thumbnail], spec: str
) -> str:
    """The whole document.

    Args:
        found: what run.json says of a training that has finished.
        spec: the specification's text; "" when there is none.
    """
    by_name = {plot.drawing.name: plot for plot in plots}
    curves = [figure(by_name[name]) for name in _CURVES]
    test = [figure(plot) for name, plot in by_name.items() if name not in _CURVES]
    body = "\n".join(
        (
            section("result", "What came out", _result(found)),
            section("curves", "Epoch by epoch", [*curves, folded_table(epochs_table(epochs), "Every epoch")]),
            section("test", "On the test split", test),
            section("mistakes", "Worst mistakes", _mistakes(mistakes, found["test"]["images"])),
            section("method", "How it was done", _method(found, spec)),
        )
    )
    return framed(
        f"{found['name']}: {found['settings']['network']}",
        headline(found),
        body,
        "Edgewise training. The plots are also in the folder plots beside this file, the epochs in metrics.csv, all else in run.json.",
        made_by="Edgewise training",
        skip=("result", "To what came out"),
        style=_STYLE,
    )


def headline(found: Mapping[str, Any]) -> str:
    """One sentence, and a second one where the pictures are no photographs."""
    test = found["test"]
    proof = "; ".join(filter(None, (interval_text(test["accuracy"], test["images"]), tested_sources_text(found))))
    return (
        f"{test['accuracy']:.1%} of {test['images']} test pictures right ({proof}); {len(found['epochs'])} epochs in {duration(found['seconds'])}, "
        f"the best is epoch {found['best_epoch']}." + (f" {SYNTHETIC}" if found["dataset"]["synthetic"] else "")
    )


def parting(found: Mapping[str, Any]) -> str:
    """Where the curves part, in words."""
    if found["parted"]:
        return f"from epoch {found['parted']} on: the training loss falls on, the validation loss no longer"
    return f"they have not: {prospect(found)}"


def prospect(found: Mapping[str, Any]) -> str:
    """What more epochs may bring where the curves have not parted."""
    if found["validation_accuracy"] == 1.0 and _best_loss(found) < _NEXT_TO_NOTHING:
        return "all validation pictures are right already, so more epochs can gain nothing on these"
    return "more epochs may gain more"


def _best_loss(found: Mapping[str, Any]) -> float:
    loss: float = found["epochs"][found["best_epoch"] - 1]["validation_loss"]
    return loss


def _result(found: Mapping[str, Any]) -> Iterator[str]:
    test = found["test"]
    proof = (
        ("test accuracy", f"{test['accuracy']:.1%} of {test['images']} pictures"),
        (
            "how sure that is",
            f"{interval_text(test['accuracy'], test['images'])} (Wilson's), if each picture is independent of the others; those of one source are not",
        ),
        ("the test pictures are", tested_sources_text(found)),
    )
    yield definitions(
        (
            *(one for one in proof if one[1]),
            ("test loss", f"{test['loss']:.4f}"),
            ("validation accuracy at the best epoch", f"{found['validation_accuracy']:.1%}"),
            ("the curves part", parting(found)),
            ("time", f"{duration(found['seconds'])}, {found['seconds_an_epoch']:.2f} s an epoch"),
            ("speed", f"{found['images_per_s']:,.1f} images/s while training"),
            ("peak memory", f"{found['peak_memory_bytes'] / 2**20:,.0f} MiB"),
            ("parameters", f"{found['parameters']:,}"),
        )
    )


def _mistakes(mistakes: Sequence[Thumbnail], images: int) -> Iterator[str]:
    if not mistakes:
        yield paragraph(f"There are none: all {images} pictures were called right.")
        return
    yield paragraph("Pictures of the test split that were called something else, the surest first.")
    items = []
    for one in mistakes:
        source = f"data:image/jpeg;base64,{base64.b64encode(one.jpeg).decode()}"
        seen = f"{one.actual}, called {one.called}"
        picture = f'<img src="{source}" alt="{escape(seen)}">' if one.jpeg else "<p>(the picture is gone)</p>"
        items.append(
            f"<li>{picture}{escape(one.actual)}, called <strong>{escape(one.called)}</strong> ({one.sure:.0%})</li>"
        )
    yield f'<ul class="mistakes">{"".join(items)}</ul>'


def _method(found: Mapping[str, Any], spec: str) -> Iterator[str]:
    data, settings, view = found["dataset"], found["settings"], found["view"]
    counts = "; ".join(
        f"{split}: " + ", ".join(f"{count} {name}" for name, count in of.items())
        for split, of in data["splits"].items()
    )
    yield from map(paragraph, ancestry.doubts(found))
    yield definitions(
        (
            ("dataset", f"{data['name']}, {data['digest'][:12]}"),
            ("pictures", counts),
            ("network", settings["network"]),
            ("begun with", settings["weights"]),
            ("what the network sees", f"{view['size_px']} × {view['size_px']} px, cut from {view['resize_px']} px"),
            ("batch", str(settings["batch_size"])),
            ("optimizer", settings["optimizer"]),
            ("seed", str(settings["seed"])),
            ("code", found["code"]),
            ("finished", found["finished"]),
            *found["environment"].items(),
        )
    )
    if spec:
        yield folded("The specification", f'<pre tabindex="0">{escape(spec)}</pre>')
