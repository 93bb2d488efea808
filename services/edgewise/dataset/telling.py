"""What a build and a check say when they have ended."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from edgewise.core.wording import counted
from edgewise.dataset.building import Built
from edgewise.dataset.checking import Checked
from edgewise.dataset.visits import duration_text
from edgewise.protocols.dataset_manifest import SPLITS, Dataset

_MOST_NAMED: Final = 20


def built_text(built: Built, out: Path) -> str:
    """What was built, and what was left out and why."""
    dataset = built.dataset
    marked = ", synthetic" if dataset.synthetic else ""
    speed = len(dataset.images) / max(built.took_s, 1e-3)
    some = counted(len(dataset.images), "picture")
    lines = [
        f"{out}: {some} of {len(dataset.classes)} classes{marked}, in {built.took_s:.1f} s ({speed:,.0f}/s)",
        "",
        *_table(dataset),
        "",
        f"mean of train: {', '.join(f'{value:.2f}' for value in dataset.mean)} (red, green, blue)",
        f"groups kept together: {built.groups:,}; pictures nearly like another: {built.joined:,}; doubles dropped: {built.doubles:,}",
    ]
    if built.moved:
        lines.append(f"groups moved for the sake of small classes: {built.moved:,}")
    lines.extend(_visits_lines(built))
    lines.extend(f"passed over: {count:,} {why}" for why, count in sorted(built.passed_over.items()))
    if built.bad:
        lines.append(f"bad files passed over: {len(built.bad):,}")
        lines.extend(_some(built.bad))
    lines.extend(_unstated_lines(dataset))
    lines.append(f"digest: {dataset.digest}")
    return "\n".join(lines)


def _visits_lines(built: Built) -> Iterator[str]:
    if built.parted:
        yield (
            f"visits of a camera in two splits, as the dataset that was kept has them: {len(built.parted):,}; `edgewise data check` names them, "
            "a build without --keep puts each together"
        )
    if built.cuts:
        least = min(built.cuts, key=lambda cut: cut.pause_s)
        yield (
            f"cameras that made no pause of an hour for more than a day were cut into days in their longest pauses: {len(built.cuts):,} cuts lie "
            f"between two splits, the shortest of {duration_text(least.pause_s)} ({least.camera})"
        )


def _unstated_lines(dataset: Dataset) -> list[str]:
    """A warning where pictures of a night may be in two splits, since nobody said that they are of one."""
    originals = [image for image in dataset.images if image.augmented_from is None]
    unstated = sum(not image.source for image in originals)
    if not unstated:
        return []
    which = f"none of the {unstated:,} pictures states" if unstated == len(originals) else f"{unstated:,} do not state"
    return [
        (
            f"warning: {which} a source, so those of a night or of one animal may be in train and in test, and the test says more than is true; "
            "say it with source_pattern in --spec, or keep samples.json beside the folders of an export"
        )
    ]


def checked_text(checked: Checked, directory: Path) -> str:
    """What was found."""
    dataset = checked.dataset
    lines = []
    if checked.leaks:
        lines.append(
            f"{directory} leaks: {counted(len(checked.leaks), 'thing is', 'things are')} in two splits; build it anew of the pictures"
        )
        lines.extend(_some(checked.leaks))
    if checked.damages:
        lines.append(
            f"{directory} is damaged: {counted(len(checked.damages), 'file is', 'files are')} not what the manifest says"
        )
        lines.extend(_some(checked.damages))
    if not lines:
        lines = [
            f"{directory}: {counted(len(dataset.images), 'picture is', 'pictures are')} what the manifest says, and nothing is in two splits"
        ]
        lines.extend(["", *_table(dataset), "", f"digest: {dataset.digest}"])
    return "\n".join(lines)


def _some(lines: Sequence[str]) -> list[str]:
    more = [f"  and {len(lines) - _MOST_NAMED:,} more"] if len(lines) > _MOST_NAMED else []
    return [*(f"  {line}" for line in lines[:_MOST_NAMED]), *more]


def _table(dataset: Dataset) -> list[str]:
    """Pictures by class and split; and how many are augmented."""
    rows = [["class", *SPLITS]]
    counts = {split: dataset.counts(split) for split in SPLITS}
    copies = sum(image.augmented_from is not None for image in dataset.images)
    rows.extend([label, *(f"{counts[split][label]:,}" for split in SPLITS)] for label in dataset.classes)
    rows.append(["all", *(f"{sum(counts[split].values()):,}" for split in SPLITS)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return [*lines, f"{copies:,} of train are augmented"] if copies else lines
