"""The report's colours, for a light and a dark page, and how targets and states are told apart without them.

Hues are those of Okabe and Ito, darkened or lightened until text in them has a contrast of 4.5 to 1 on its ground; every series
has a marker and a line of its own besides, every area a word or a hatching.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgewise.study.cells import CLOUD, EDGE, GATEWAY


@dataclass(frozen=True, slots=True)
class Colour:
    """One colour of the page.

    Attributes:
        name: of its CSS variable, without dashes.
        light, dark: `#rrggbb`; `light` is what plots are drawn in, so no two colours share it.
    """

    name: str
    light: str
    dark: str


PAPER: Final = Colour("paper", "#ffffff", "#171b21")
INK: Final = Colour("ink", "#1a1f27", "#e8ebf0")
SOFT: Final = Colour("soft", "#525b68", "#a7b0bd")
GRID: Final = Colour("grid", "#dfe3e8", "#333a44")
AXIS: Final = Colour("axis", "#8b94a1", "#6c7684")
SHADE: Final = Colour("shade", "#eef0f3", "#262c35")

_CLOUD: Final = Colour("cloud", "#0b62c4", "#7db3ff")
_EDGE: Final = Colour("edge", "#b84a00", "#ff9d57")
_GATEWAY: Final = Colour("gateway", "#00735a", "#43cfa4")
_OTHERS: Final = (
    Colour("other-1", "#8a3fae", "#d3a0f0"),
    Colour("other-2", "#a3195b", "#ff8fc0"),
    Colour("other-3", "#5f5b00", "#cfc84a"),
)

TINTS: Final = {
    CLOUD: (
        Colour("cloud-1", "#dbe9fb", "#17304f"),
        Colour("cloud-2", "#aacbf4", "#1d4a80"),
        Colour("cloud-3", "#78abea", "#2560a8"),
    ),
    EDGE: (
        Colour("edge-1", "#fde6d3", "#48290f"),
        Colour("edge-2", "#fbc799", "#6f3d12"),
        Colour("edge-3", "#f3a262", "#8f4f15"),
    ),
}
"""Grounds for ink: the stronger the further apart two targets are. Of the second and of the first target of a contest."""

STATES: Final = {
    "ok": Colour("state-ok", "#a8d5bf", "#2c6a4e"),
    "rejected": Colour("state-rejected", "#e3a52f", "#d79a25"),
    "expired": Colour("state-expired", "#b58ad6", "#a679cb"),
    "error": Colour("state-error", "#cc3d37", "#e2605a"),
    "lost": Colour("state-lost", "#3c434d", "#c9d0d9"),
    "unsent": Colour("state-unsent", "#c3c9d1", "#59626f"),
}

HATCHES: Final = {"ok": "", "rejected": "///", "expired": "...", "error": "xxx", "lost": "", "unsent": "\\\\\\"}

ALL: Final = (
    PAPER,
    INK,
    SOFT,
    GRID,
    AXIS,
    SHADE,
    _CLOUD,
    _EDGE,
    _GATEWAY,
    *_OTHERS,
    *TINTS[CLOUD],
    *TINTS[EDGE],
    *STATES.values(),
)


@dataclass(frozen=True, slots=True)
class Series:
    """How a target is drawn.

    Attributes:
        dashes: a line style of matplotlib.
    """

    colour: str
    marker: str
    dashes: Any


_FIXED: Final = {
    CLOUD: Series(_CLOUD.light, "o", "solid"),
    EDGE: Series(_EDGE.light, "s", (0, (5, 1.6))),
    GATEWAY: Series(_GATEWAY.light, "^", (0, (1.2, 1.2))),
}
_MARKERS: Final = ("D", "v", "P")


def series(targets: Sequence[str]) -> dict[str, Series]:
    """Of each target."""
    others = [target for target in targets if target not in _FIXED]
    made = {}
    for target in targets:
        if target in _FIXED:
            made[target] = _FIXED[target]
        else:
            place = others.index(target) % len(_OTHERS)
            made[target] = Series(_OTHERS[place].light, _MARKERS[place], (0, (4, 1, 1, 1)))
    return made
