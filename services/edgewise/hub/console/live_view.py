"""A rollout in a terminal, as it moves."""

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgewise.core.rollout.gates import Verdict
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.console.rollout_text import history_line, site_row, specification_of, title, wave_title
from edgewise.hub.console.text_tables import printable
from edgewise.hub.control.status import HistoryEntry, RolloutStatus
from edgewise.hub.pages.rollout_view import Cell, GateRow, WaveView, waves

_MOVES: Final = 8
_REFRESH_PER_S: Final = 2.0
_LEAST_SITES: Final = 3
_GOOD: Final = "green"
_BAD: Final = "bold red"
_UNSURE: Final = "yellow"
_STYLES: Final = {
    SiteState.ACTIVE.value: _GOOD,
    SiteState.FAILED.value: _BAD,
    SiteState.ROLLED_BACK.value: _BAD,
    SiteState.UNREACHABLE.value: _UNSURE,
    SiteState.VERIFYING.value: "cyan",
    SiteState.ACTIVATING.value: "cyan",
    RolloutState.COMPLETED.value: _GOOD,
    RolloutState.PAUSED.value: _UNSURE,
    RolloutState.ABORTING.value: _BAD,
    Verdict.PASS.value: _GOOD,
    Verdict.FAIL.value: _BAD,
    Verdict.INCONCLUSIVE.value: _UNSURE,
}


class LiveView:
    """A screen that is drawn anew as things change, and leaves its last picture behind.

    Args:
        now_s: the wall clock, for ages.
    """

    def __init__(self, console: Console, now_s: Callable[[], float] = time.time) -> None:
        self._console = console
        self._now_s = now_s
        self._rollout: RolloutStatus | None = None
        self._views: tuple[WaveView, ...] = ()
        self._moves: deque[HistoryEntry] = deque(maxlen=_MOVES)
        self._notice = ""
        self._live = Live(
            console=console,
            get_renderable=self.picture,
            refresh_per_second=_REFRESH_PER_S,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, rollout: RolloutStatus, moves: list[HistoryEntry]) -> None:
        """See `watching.Screen`."""
        self._views = waves(rollout, specification_of(rollout))
        self._rollout = rollout
        self._moves.extend(moves)
        self._live.refresh()

    def notice(self, text: str) -> None:
        """See `watching.Screen`."""
        self._notice = text
        self._live.refresh()

    def picture(self) -> RenderableType:
        """What is to be seen now."""
        rollout = self._rollout
        if rollout is None:
            return Text(self._notice or "asking the hub")
        now_s = self._now_s()
        parts: list[RenderableType] = [Text(title(rollout, now_s), style=_STYLES.get(rollout.state, "bold"))]
        room = max(self._console.height - len(self._moves) - 6 * len(self._views) - 6, _LEAST_SITES)
        for view in self._views:
            parts.append(Text(f"\n{wave_title(view)}", style=_STYLES.get(view.status.verdict, "")))
            if view.gates and view.status.phase == "open":
                parts.append(_gates(view.gates))
            if view.cells and view.status.phase != "waiting":
                parts.append(_sites(view.cells[:room], len(view.cells[room:]) + view.hidden, now_s))
        if self._moves:
            parts.append(Text("\nlast moves", style="bold"))
            parts += [Text(history_line(entry), overflow="ellipsis", no_wrap=True) for entry in self._moves]
        if self._notice:
            parts.append(Text(f"\n{printable(self._notice)}", style=_BAD))
        return Group(*parts)


def _gates(gates: tuple[GateRow, ...]) -> Table:
    table = Table("gate", "verdict", "new less old", "hits", "allowed", box=SIMPLE_HEAD)
    for gate in gates:
        bounds = gate.interval.text if gate.interval else "-"
        verdict = Text(gate.verdict, style=_STYLES.get(gate.verdict, ""))
        table.add_row(gate.name, verdict, bounds, gate.counts, gate.asks)
    return table


def _sites(cells: tuple[Cell, ...], hidden: int, now_s: float) -> Table:
    table = Table("site", "state", "does", "heard", "why", box=SIMPLE_HEAD)
    for cell in cells:
        site, state, does, heard, why = site_row(cell, now_s)
        # As text: names and reasons come from elsewhere, and are neither markup nor commands to the terminal.
        words = (Text(printable(word)) for word in (does, heard, why))
        table.add_row(Text(printable(site)), Text(state, style=_STYLES.get(state, "")), *words)
    if hidden:
        table.add_row(f"and {hidden} more")
    return table
