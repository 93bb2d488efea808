"""A plot's SVG as a part of a page: smaller, its names its own, its colours the page's."""

import re
from html import escape
from typing import Final

from edgewise.study.report import palette
from edgewise.study.report.drawings import Plot

PX_PER_PT: Final = 1.5
"""Of a plot at its widest: its smallest words are then about 10 px high."""

NARROW_PX_PER_PT: Final = 1.06
"""Of a plot on a narrow screen, which scrolls within its frame."""

_PROLOG: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]+>")
_GROUP_ID: Final = re.compile(r'^<g id="[^"]*"')
_ID: Final = re.compile(r'\bid="([^"]*)"')
_REFERENCE: Final = re.compile(r'(?:xlink:)?href="#([^"]*)"')
_URL: Final = re.compile(r"url\(#([^)]*)\)")
_DECIMALS: Final = re.compile(r"(\.\d\d)\d+")
_SPACE: Final = re.compile(r"\s+")
_BETWEEN: Final = re.compile(r">\s+<")
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}\b")
_FONT: Final = re.compile(r"font-family: [^;\"]*;? ?")
_EMPTY: Final = re.compile(r"<g/>|<g></g>")

_VARIABLES: Final = {colour.light: f"var(--{colour.name})" for colour in palette.ALL}


def inline(plot: Plot) -> str:
    """The plot as an element of a page; what it shows is its name for screen readers."""
    name = plot.drawing.name
    svg = _METADATA.sub("", _PROLOG.sub("", plot.svg, count=1))
    svg = _TAG.sub(lambda tag: _own(tag.group(), name), svg)
    svg = _BETWEEN.sub("><", svg).strip()
    while _EMPTY.search(svg):
        svg = _EMPTY.sub("", svg)
    view = re.search(r'viewBox="([^"]*)"', svg)
    opening = (
        f'<svg class="plot" role="img" aria-label="{escape(plot.drawing.description)}" viewBox="{view.group(1) if view else ""}" '
        f'style="max-width:{plot.width_pt * PX_PER_PT:.0f}px;min-width:{min(plot.width_pt * NARROW_PX_PER_PT, 900):.0f}px">'
    )
    return opening + svg[svg.index(">") + 1 :]


def _own(tag: str, name: str) -> str:
    """One tag, without what only other programs need; its ids and references begin with the plot's name."""
    tag = _GROUP_ID.sub("<g", tag)
    tag = _DECIMALS.sub(r"\1", _SPACE.sub(" ", tag)).replace(' "', '"')
    tag = _ID.sub(rf'id="{name}-\1"', tag)
    tag = _REFERENCE.sub(rf'href="#{name}-\1"', tag)
    tag = _URL.sub(rf"url(#{name}-\1)", tag)
    return _FONT.sub("", _COLOUR.sub(lambda found: _VARIABLES.get(found.group(), found.group()), tag))
