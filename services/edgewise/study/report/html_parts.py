"""Pieces of the page: text that is always escaped, tables, figures. Markup is made here and in `html_page` only."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from edgewise.study.report.drawings import Plot, Table
from edgewise.study.report.html_svg import inline

LONG: Final = 48
"""Letters of a cell of a table from which on it gets room to be broken into lines."""


def paragraph(text: str, kind: str = "") -> str:
    """Of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def section(name: str, heading: str, parts: Iterable[str]) -> str:
    """With a heading that the contents point to."""
    inner = "\n".join(parts)
    return f'<section id="{escape(name)}" aria-labelledby="h-{escape(name)}">\n<h2 id="h-{escape(name)}">{escape(heading)}</h2>\n{inner}\n</section>'


def table(made: Table, label: str) -> str:
    """That scrolls in its own frame, by keyboard too."""
    heads = "".join(
        f'<th scope="col"{_class("n" if at >= made.words else "")}>{escape(word)}</th>'
        for at, word in enumerate(made.header)
    )
    rows = "\n".join(_row(made, row) for row in made.rows)
    return (
        f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0"><table><caption>{escape(label)}</caption>'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def folded(summary: str, inner: str) -> str:
    """Closed until it is asked for; on paper only what was opened appears."""
    return f"<details><summary>{escape(summary)}</summary>\n{inner}\n</details>"


def folded_table(made: Table, label: str) -> str:
    """A table, closed, with its size on the lid."""
    return folded(f"{label} ({len(made.rows):,} {'row' if len(made.rows) == 1 else 'rows'})", table(made, label))


def figure(plot: Plot) -> str:
    """A plot with its heading, its caption, its files and its data."""
    drawing = plot.drawing
    name = escape(drawing.name)
    return (
        f'<figure id="figure-{name}" aria-labelledby="f-{name}">\n<h3 id="f-{name}">{escape(drawing.title)}</h3>\n'
        f'<div class="scroll" role="region" aria-label="{escape(drawing.title)}" tabindex="0">{inline(plot)}</div>\n'
        f"<figcaption>{escape(drawing.caption)} "
        f'<span class="files">As a file: <a href="plots/{name}.svg">SVG</a>, <a href="plots/{name}.png">PNG</a>.</span></figcaption>\n'
        f"{folded_table(drawing.table, f'Data: {drawing.title}')}\n</figure>"
    )


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they stand for."""
    inner = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(said)}</dd></div>" for name, said in pairs)
    return f"<dl>{inner}</dl>"


def listed(items: Sequence[str], kind: str = "") -> str:
    """A list of pieces that are markup already."""
    return f"<ul{_class(kind)}>" + "\n".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _row(made: Table, row: Sequence[str]) -> str:
    cells = [f'<th scope="row">{escape(row[0])}</th>']
    for at, word in enumerate(row[1:], 1):
        kind = "long" if len(word) > LONG else "n" if at >= made.words else ""
        cells.append(f"<td{_class(kind)}>{escape(word)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
