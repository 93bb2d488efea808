"""What a study found, as lines for a terminal."""

import math
from collections.abc import Sequence
from typing import Final

from edgewise.study.mlperf import in_a_line
from edgewise.study.report.conclusions import conclude
from edgewise.study.results import CellResult, Estimate, MlperfVerdict, StudyResult

_MOST_MISSING: Final = 10
_MOST_CELLS: Final = 60


def result_text(result: StudyResult) -> str:
    """The conclusions first, then a line a cell, then what is missing."""
    lines = [result.title, ""]
    lines += [f"- {one.text}" for one in conclude(result) if one.headline]
    lines += ["", *_table(result.cells[:_MOST_CELLS])]
    if len(result.cells) > _MOST_CELLS:
        lines.append(f"and {len(result.cells) - _MOST_CELLS} more cells: see summary.csv")
    lines += [_mlperf_line(verdict) for verdict in result.mlperf]
    missing = list(result.missing.items())
    if missing:
        lines += ["", f"{len(missing)} cells are missing:"]
        lines += [f"  {name}: {reason}" for name, reason in missing[:_MOST_MISSING]]
        if len(missing) > _MOST_MISSING:
            lines.append(f"  and {len(missing) - _MOST_MISSING} more: see the report")
    return "\n".join(lines) + "\n\n"


def _mlperf_line(verdict: MlperfVerdict) -> str:
    where = f"{verdict.target} over {verdict.profile}" if verdict.profile else verdict.target
    return f"MLPerf {verdict.scenario}, {verdict.model} at {where}, {verdict.protocol}: {in_a_line(verdict)}"


def _table(cells: Sequence[CellResult]) -> list[str]:
    rows: list[tuple[str, ...]] = [("cell", "requests", "answered", "p50 ms", "p95 ms", "p99 ms", "right")]
    for found in cells:
        quantiles = [_shown(found.quantiles_ms.get(ratio)) for ratio in (0.5, 0.95, 0.99)]
        rows.append(
            (
                found.cell.name,
                str(found.requests),
                _share(found.availability.value),
                *quantiles,
                _share(found.accuracy.value),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(word.rjust(width) for word, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _shown(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "-"
    if math.isnan(estimate.low):
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"
