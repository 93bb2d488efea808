"""Rollouts as people read them."""

from collections.abc import Iterable, Iterator

from edgewise.core.rollout.events import WavePhase
from edgewise.core.rollout.specification import Specification
from edgewise.hub.console.text_tables import columns, printable
from edgewise.hub.control.status import HistoryEntry, RolloutStatus, RolloutSummary
from edgewise.hub.pages.rollout_view import Cell, GateRow, WaveView, waves
from edgewise.hub.pages.words import ago, moment
from edgewise.protocols.rollout_specification import read_specification


def rollouts_text(rollouts: Iterable[RolloutSummary], now_s: float) -> str:
    """A table of rollouts."""
    rows = [("ROLLOUT", "RELEASE", "STATE", "SITES", "CHANGED", "WHY")]
    for rollout in rollouts:
        states = ", ".join(f"{count} {state}" for state, count in sorted(rollout.states.items()))
        release = f"{rollout.model}/{rollout.version}"
        rows.append((rollout.name, release, rollout.state, states, ago(rollout.changed_s, now_s), rollout.why))
    if len(rows) == 1:
        return "no rollouts; plan one with: edgewise rollout plan SPEC"
    return "\n".join(columns(rows))


def rollout_text(rollout: RolloutStatus, now_s: float) -> str:
    """A rollout with its waves, gates and sites."""
    lines = [title(rollout, now_s)]
    for view in waves(rollout, specification_of(rollout)):
        lines += ["", wave_title(view)]
        lines += gate_lines(view.gates, "  ")
        lines += _site_lines(view, now_s)
    if rollout.verbs:
        lines += ["", f"it can be asked to {', '.join(rollout.verbs)}"]
    return "\n".join(lines)


def history_text(entries: Iterable[HistoryEntry]) -> str:
    """What moved, a line for each."""
    return "\n".join(map(history_line, entries))


def history_line(entry: HistoryEntry) -> str:
    """2026-11-23 10:00:00 UTC  site factory-7: Staged -> Activating (why)."""
    before = f"{entry.before} -> " if entry.before else ""
    why = f" ({printable(entry.why)})" if entry.why else ""
    return f"{moment(entry.at_s)}  {entry.kind} {printable(entry.subject)}: {before}{entry.after}{why}"


def title(rollout: RolloutStatus, now_s: float) -> str:
    """Its name, its state and why."""
    why = f": {printable(rollout.why)}" if rollout.why else ""
    return (
        f"{rollout.name} ({rollout.model} {rollout.version}) is {rollout.state}{why}; "
        f"made by {printable(rollout.created_by)} {ago(rollout.created_s, now_s)}, changed {ago(rollout.changed_s, now_s)}"
    )


def wave_title(view: WaveView) -> str:
    """A wave in one line."""
    status = view.status
    promoted = ", promoted" if status.promoted else ""
    verdict = f", verdict {view.verdict}{promoted}" if view.verdict else ""
    nothing = ", nothing to prove" if status.phase == WavePhase.PASSED and not view.verdict else ""
    phase = f"is {view.phase}" if view.phase in set(WavePhase) else view.phase
    waits = f"; waits: {printable(status.waits_for)}" if status.waits_for else ""
    name = f"wave {status.number + 1} {printable(status.name)}"
    return f"{name} {phase}{verdict or nothing}: {view.summary}; {view.rules}{waits}"


def gate_lines(gates: Iterable[GateRow], indent: str) -> list[str]:
    """A line for each gate: what is proven, and by how many requests."""
    rows = [
        (gate.name, gate.verdict, gate.interval.text if gate.interval else "-", gate.counts, gate.asks)
        for gate in gates
    ]
    return columns([("GATE", "VERDICT", "NEW LESS OLD", "HITS", "ALLOWED"), *rows], indent=indent) if rows else []


def site_row(cell: Cell, now_s: float) -> tuple[str, str, str, str, str]:
    """SITE, STATE, DOES, HEARD, WHY."""
    does = "; ".join(filter(None, (cell.does, cell.told)))
    return cell.site.site, cell.site.state, does or "-", ago(cell.site.heard_s, now_s), cell.site.why or "-"


def specification_of(rollout: RolloutStatus) -> Specification:
    """What was asked for."""
    return read_specification(rollout.specification, rollout.form, file="the rollout's specification")


def _site_lines(view: WaveView, now_s: float) -> Iterator[str]:
    if view.cells:
        rows = [("SITE", "STATE", "DOES", "HEARD", "WHY"), *(site_row(cell, now_s) for cell in view.cells)]
        yield from columns(rows, indent="  ")
    if view.hidden:
        yield f"  and {view.hidden} more (--json shows all)"
