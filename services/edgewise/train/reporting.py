"""What a training came to, for people: plots as files, one page that works offline, and a few lines of text."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.study.report import plots_style
from edgewise.train import ancestry
from edgewise.train.curves import Epoch, duration, epoch_of
from edgewise.train.evaluation import ClassScore
from edgewise.train.plots import Shown, drawings
from edgewise.train.report_page import Thumbnail, headline, page, parting, prospect
from edgewise.train.run_directory import RunDirectory
from edgewise.trust.durable_files import write_durably

_THUMBNAIL_PX: Final = 160
_SHEET_COLUMNS: Final = 6


def write(out: Path) -> Path:
    """Write the plots, as PNG and SVG, and report.html of a training that has finished.

    Returns: the page.

    Raises:
        NotFoundError: there is no training.
        FailedPreconditionError: it has not finished, or the directory cannot be written to.
    """
    directory = RunDirectory(out)
    found = directory.finished()
    epochs = tuple(epoch_of(one) for one in found["epochs"])
    mistakes = [_thumbnail(Path(found["dataset"]["path"]), one) for one in found["mistakes"]]
    spec = directory.spec.read_text(encoding="utf-8") if directory.spec.is_file() else ""
    try:
        with plots_style.configuration():
            plots = [plots_style.render(one) for one in drawings(_shown(found, epochs))]
        for plot in plots:
            write_durably(directory.plots / f"{plot.drawing.name}.svg", plot.svg.encode())
            write_durably(directory.plots / f"{plot.drawing.name}.png", plot.png)
        _write_sheet(directory.plots / "mistakes.png", mistakes)
        write_durably(directory.report, page(found, epochs, plots, mistakes, spec).encode())
    except OSError as error:
        raise FailedPreconditionError(f"the report of {out} cannot be written: {error.strerror or error}") from error
    return directory.report


def summary_text(out: Path) -> str:
    """A few lines on a training, finished or not.

    Raises:
        NotFoundError: there is no training.
        FailedPreconditionError: what describes it cannot be read.
    """
    directory = RunDirectory(out)
    found = directory.read()
    settings, data = found["settings"], found["dataset"]
    lines = [
        f"{found['name']}: {settings['network']} from {settings['weights']}, on {data['name']} ({data['digest'][:12]})"
    ]
    if "test" not in found:
        done = (
            max(len(directory.metrics.read_text(encoding="utf-8").splitlines()) - 1, 0)
            if directory.metrics.is_file()
            else 0
        )
        lines.append(f"not finished: {done} of at most {sum(one['epochs'] for one in settings['stages'])} epochs")
        return "\n".join(lines) + "\n"
    lines += [
        headline(found),
        *ancestry.doubts(found),
        f"the curves part {parting(found)}" if found["parted"] else f"the curves have not parted: {prospect(found)}",
        (
            f"{found['seconds_an_epoch']:.2f} s an epoch, {found['images_per_s']:,.1f} images/s, peak memory "
            f"{found['peak_memory_bytes'] / 2**20:,.0f} MiB, all in {duration(found['seconds'])}"
        ),
    ]
    width = max(len(name) for name in data["classes"])
    for one in _scores(found):
        lines.append(
            f"  {one.name:<{width}}  precision {_share(one.precision)}  recall {_share(one.recall)}  of {one.support}"
        )
    return "\n".join(lines) + "\n"


def _share(value: float | None) -> str:
    return "  none" if value is None else f"{value:6.1%}"


def _scores(found: Mapping[str, Any]) -> tuple[ClassScore, ...]:
    return tuple(
        ClassScore(name, one["precision"], one["recall"], one["support"])
        for name, one in found["test"]["classes"].items()
    )


def _shown(found: Mapping[str, Any], epochs: tuple[Epoch, ...]) -> Shown:
    return Shown(
        epochs=epochs,
        best_epoch=found["best_epoch"],
        parted=found["parted"],
        classes=tuple(found["dataset"]["classes"]),
        confusion=tuple(tuple(row) for row in found["test"]["confusion"]),
        scores=_scores(found),
    )


def _thumbnail(dataset: Path, mistake: Mapping[str, Any]) -> Thumbnail:
    from PIL import Image, ImageOps  # noqa: PLC0415  (only reports pay for it)

    target = BytesIO()
    try:
        with Image.open(dataset / mistake["file"]) as picture:
            ImageOps.fit(picture.convert("RGB"), (_THUMBNAIL_PX, _THUMBNAIL_PX)).save(target, format="JPEG", quality=80)
    except OSError:
        # The dataset is elsewhere by now; the report is still worth having.
        target = BytesIO()
    return Thumbnail(mistake["file"], mistake["actual"], mistake["called"], mistake["sure"], target.getvalue())


def _write_sheet(path: Path, mistakes: list[Thumbnail]) -> None:
    """All thumbnails in one picture; none when nothing was wrong."""
    from PIL import Image, ImageDraw  # noqa: PLC0415  (as above)

    shown = [one for one in mistakes if one.jpeg]
    if not shown:
        path.unlink(missing_ok=True)
        return
    columns = min(_SHEET_COLUMNS, len(shown))
    wide, high = _THUMBNAIL_PX + 12, _THUMBNAIL_PX + 40
    sheet = Image.new("RGB", (columns * wide, -(-len(shown) // columns) * high), "white")
    pen = ImageDraw.Draw(sheet)
    for at, one in enumerate(shown):
        left, top = at % columns * wide + 6, at // columns * high + 4
        with Image.open(BytesIO(one.jpeg)) as picture:
            sheet.paste(picture, (left, top))
        pen.text((left, top + _THUMBNAIL_PX + 3), f"{one.actual}\ncalled {one.called} ({one.sure:.0%})", fill="black")
    target = BytesIO()
    sheet.save(target, format="PNG")
    write_durably(path, target.getvalue())
