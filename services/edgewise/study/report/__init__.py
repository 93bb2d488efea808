"""What a study found, for people: one page that works offline, and its plots as files."""

from pathlib import Path

from edgewise.study.report import plots_style
from edgewise.study.report.html_page import page
from edgewise.study.report.index import Index
from edgewise.study.report.plots import all_drawings
from edgewise.study.results import StudyResult

REPORT = "report.html"
PLOTS = "plots"


def write(directory: Path, result: StudyResult) -> Path:
    """Write `report.html`, and each plot as `plots/NAME.svg` and `plots/NAME.png`.

    The page needs nothing beside itself. What an earlier report left in `plots` and this one does not draw is removed.

    Args:
        directory: of the study; its `scenario.toml`, where there is one, becomes part of the page.

    Returns: the page.

    Raises:
        OSError: the directory cannot be written to.
    """
    index = Index(result)
    folder = directory / PLOTS
    folder.mkdir(parents=True, exist_ok=True)
    with plots_style.configuration():
        plots = {part: [plots_style.render(one) for one in found] for part, found in all_drawings(index).items()}
    kept = set()
    for found in plots.values():
        for plot in found:
            for name, content in (
                (f"{plot.drawing.name}.svg", plot.svg.encode()),
                (f"{plot.drawing.name}.png", plot.png),
            ):
                _replace(folder / name, content)
                kept.add(name)
    for stale in folder.iterdir():
        if stale.suffix in {".svg", ".png"} and stale.name not in kept:
            stale.unlink()
    scenario = directory / "scenario.toml"
    text = scenario.read_text(encoding="utf-8", errors="replace") if scenario.is_file() else ""
    _replace(directory / REPORT, page(index, plots, text).encode())
    return directory / REPORT


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
