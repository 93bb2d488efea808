"""Writes what a comparison found: report.html, summary.json, summary.csv, plots/."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgewise.study.report import plots_style
from edgewise.study.report.drawings import Plot, Table
from edgewise.study.report.html_document import document
from edgewise.study.report.html_parts import definitions, figure, listed, paragraph, table
from edgewise.study.summary import plain
from edgewise.train.networks_study.conclusions import Finding, conclude
from edgewise.train.networks_study.findings import NetworksResult
from edgewise.train.networks_study.plots import drawings, latency_table, training_table, version_table
from edgewise.trust.durable_files import write_durably

REPORT: Final = "report.html"
PLOTS: Final = "plots"
FORMAT: Final = "edgewise-networks-summary/1"


def write(root: Path, result: NetworksResult) -> Path:
    """Write everything; each file whole or not at all.

    Returns: the page.
    Raises: OSError: the directory cannot be written to.
    """
    with plots_style.configuration():
        plots = {part: [plots_style.render(one) for one in found] for part, found in drawings(result).items()}
    folder = root / PLOTS
    folder.mkdir(exist_ok=True)
    kept = set()
    for one in (one for found in plots.values() for one in found):
        for suffix, content in ((".svg", one.svg.encode()), (".png", one.png)):
            name = f"{one.drawing.name}{suffix}"
            write_durably(folder / name, content)
            kept.add(name)
    for stale in folder.iterdir():
        if stale.name not in kept:
            stale.unlink()
    said = {"format": FORMAT, "conclusions": plain(conclude(result)), "networks": plain(result)}
    write_durably(root / "summary.json", (json.dumps(said, allow_nan=False) + "\n").encode())
    write_durably(root / "summary.csv", csv_text(result).encode())
    write_durably(root / REPORT, page(result, plots).encode())
    return root / REPORT


def csv_text(result: NetworksResult) -> str:
    """One row a version and place, with what is known of the version and of its training."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        [
            *(
                "network",
                "format",
                "target",
                "profile",
                "p50_ms",
                "p95_ms",
                "p99_ms",
                "requests",
                "answered_ratio",
                "right_ratio",
            ),
            *(
                "capacity_per_s",
                "size_bytes",
                "memory_bytes",
                "peak_bytes",
                "ready_s",
                "accuracy_ratio",
                "agreement_ratio",
            ),
            *("train_seconds_an_epoch", "train_images_per_s", "train_peak_bytes", "parameters", "weights"),
        ]
    )
    for version in result.versions:
        cells = [one for one in (result.asked.cells if result.asked else ()) if one.cell.model == version.model]
        trained = result.training(version.network)
        known = [
            version.size_bytes,
            version.memory_bytes,
            version.peak_bytes,
            *map(_figure, (version.ready_s, version.accuracy, version.agreement)),
        ]
        if trained is not None:
            known += [
                _figure(trained.seconds_an_epoch),
                _figure(trained.images_per_s),
                trained.peak_memory_bytes,
                trained.parameters,
                trained.weights,
            ]
        for cell in cells:
            quantiles = [
                _figure(cell.quantiles_ms[ratio].value) if ratio in cell.quantiles_ms else ""
                for ratio in (0.5, 0.95, 0.99)
            ]
            capacity = _figure(result.capacity(version.network, version.form, cell.cell.target))
            shares = [cell.requests, _figure(cell.availability.value), _figure(cell.accuracy.value), capacity]
            rows.writerow(
                [version.network, version.form, cell.cell.target, cell.cell.profile, *quantiles, *shares, *known]
            )
        if not cells:
            rows.writerow([version.network, version.form, *[""] * 9, *known])
    return text.getvalue()


def text(result: NetworksResult) -> str:
    """The conclusions for a terminal."""
    lines = [result.title, ""]
    for one in conclude(result):
        lines.append(f"- {one.heading + ': ' if one.heading else ''}{one.text}")
        lines += [f"    {point}" for point in one.points]
    if result.missing:
        lines += ["", "missing:", *(f"  {name}: {reason}" for name, reason in result.missing.items())]
    return "\n".join(lines) + "\n\n"


def page(result: NetworksResult, plots: dict[str, list[Plot]]) -> str:
    """The whole document; it needs nothing beside itself."""
    asked = [] if result.asked is None else ["The servers' study has a report of its own: deployment/report.html."]
    return document(
        result.title,
        f"{len(result.trainings)} of {len(result.networks)} networks trained, {len(result.versions)} versions weighed, "
        f"{len(result.asked.cells) if result.asked else 0} cells asked. {result.environment.get('date', '')}",
        {
            "What to do": ("what", _what(result)),
            "Deployment": ("deployment", _part(plots["deployment"], latency_table(result), "Nothing was asked.")),
            "Size and memory": ("versions", _part(plots["versions"], version_table(result), "No version was made.")),
            "Training": ("training", _part(plots["training"], training_table(result), "Nothing was trained.")),
            "How it was measured": ("method", _method(result)),
        },
        " ".join(
            [
                "Edgewise study. The plots are also in the folder plots beside this file, the figures in summary.csv and summary.json.",
                *asked,
            ]
        ),
    )


def _what(result: NetworksResult) -> Iterator[str]:
    found = conclude(result)
    for one in found:
        if not one.caution:
            yield f"<h3>{one.heading}</h3>"
            yield paragraph(one.text)
            yield listed([paragraph(point) for point in one.points])
    cautions: list[Finding] = [one for one in found if one.caution]
    if cautions:
        yield "<h3>What limits this</h3>"
        yield listed([paragraph(one.text) for one in cautions])


def _part(plots: list[Plot], made: Table, otherwise: str) -> Iterator[str]:
    if not plots:
        yield paragraph(otherwise)
    for one in plots:
        yield figure(one)
    if plots and made.rows:
        yield table(made, "Figures")


def _method(result: NetworksResult) -> Iterator[str]:
    yield definitions(result.environment.items())
    if result.missing:
        yield "<h3>What is missing</h3>"
        yield table(Table(("what", "why"), list(result.missing.items()), 2), "What is missing")


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
