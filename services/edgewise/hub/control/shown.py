"""Puts what is known into the words that people are told."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from edgewise.core.rollout import wave_progress
from edgewise.core.rollout.events import SiteView, WavePhase, WaveView
from edgewise.core.rollout.gates import Findings, Gate, GateName, Gates, pooled
from edgewise.core.rollout.paired import Paired, worst
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.sequential import Compared, Evidence, Observed
from edgewise.core.rollout.site_plan import shares
from edgewise.hub.control.known import Known
from edgewise.hub.control.running import Running
from edgewise.hub.control.status import (
    GateStatus,
    OrderStatus,
    RolloutSiteStatus,
    RolloutStatus,
    SiteStatus,
    WaveStatus,
)
from edgewise.hub.store.sites import Site

ONLINE_S: Final = 90.0
MOST_JUDGED: Final = 200
_LOOKED_S: Final = 2.0
_MOST_KEPT: Final = 64


def site_status(site: Site, known: Known, now_s: float) -> SiteStatus:
    """One site."""
    orders = known.told(site.name)
    running = {order.rollout: known.running.get(order.rollout) for order in orders.values()}
    return SiteStatus(
        site=site.name,
        tier=site.tier,
        labels=dict(site.labels),
        enrolled_s=site.enrolled_s,
        heard_s=site.heard_s,
        online=site.heard_s is not None and now_s - site.heard_s <= ONLINE_S,
        reported_s=site.reported_s,
        generation=site.generation,
        following=site.following,
        clock_ahead_s=site.clock_ahead_s,
        retired_s=site.retired_s,
        inventory=site.inventory,
        orders=tuple(
            OrderStatus(order.rollout, order.model, order.version, order.want.value)
            for _, order in sorted(orders.items())
        ),
        states={
            name: one.machine.glance().sites[site.name].state.value for name, one in running.items() if one is not None
        },
    )


class Showing:
    """Rollouts in people's words. What evidence says takes a while to find out, so it is looked at anew every other second only.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waves: dict[tuple[str, int], tuple[int, float, tuple[GateStatus, ...]]] = {}
        self._sites: dict[tuple[str, str], tuple[Findings, tuple[GateStatus, ...]]] = {}

    def rollout(self, running: Running, sites: Mapping[str, Site]) -> RolloutStatus:
        """All of one rollout.

        Args:
            sites: every site, by name.
        """
        head, standing, view = running.head, running.standing, running.machine.glance()
        of_wave: list[dict[str, SiteView]] = [{} for _ in view.waves]
        for name, known in view.sites.items():
            of_wave[known.wave][name] = known
        judged = len(view.sites) <= MOST_JUDGED
        return RolloutStatus(
            name=head.name,
            model=head.model,
            version=head.version,
            state=view.state.value,
            why=view.why,
            revision=standing.revision,
            created_s=head.created_s,
            created_by=head.created_by,
            changed_s=standing.changed_s,
            specification=head.text,
            form=head.form,
            verbs=tuple(verb.value for verb in running.machine.verbs()),
            waves=tuple(self._wave(running, number, wave, of_wave[number]) for number, wave in enumerate(view.waves)),
            sites=tuple(
                self._site(running, name, known, sites[name], judged=judged) for name, known in view.sites.items()
            ),
        )

    def _wave(self, running: Running, number: int, view: WaveView, sites: Mapping[str, SiteView]) -> WaveStatus:
        wave = running.head.specification.waves[number]
        counting = wave_progress.counting(sites)
        # A rollout that is paused says why by itself.
        stands = running.machine.state == RolloutState.PROGRESSING and view.phase == WavePhase.OPEN
        settled = view.judged or view.promoted
        return WaveStatus(
            number=number,
            name=wave.name,
            selector=wave.selector.text,
            phase=view.phase.value,
            verdict=view.verdict.value,
            promoted=view.promoted,
            since_s=view.since_s,
            sites=len(sites),
            states=dict(Counter(known.state.value for known in sites.values())),
            failed=sum(map(wave_progress.has_failed, sites.values())),
            may_fail=wave.error_budget.at_most_of(len(counting)),
            at_once=wave.max_concurrent.at_least_one_of(len(counting)),
            gates=self._wave_gates(running, number, sites),
            waits_for=wave_progress.why_stuck(counting) if stands and settled else "",
        )

    def _wave_gates(self, running: Running, number: int, sites: Mapping[str, SiteView]) -> tuple[GateStatus, ...]:
        key, revision, now_s = (running.head.name, number), running.standing.revision, self._clock()
        seen = self._waves.get(key)
        if seen is not None and (seen[0] == revision or 0.0 <= now_s - seen[1] < _LOOKED_S):
            return seen[2]
        findings = pooled(known.findings for known in sites.values())
        gates = tuple(_gates(running.head.specification.gates, findings, judged=True, bounded=True))
        if len(self._waves) >= _MOST_KEPT:
            self._waves.clear()
        self._waves[key] = (revision, now_s, gates)
        return gates

    def _site(self, running: Running, name: str, known: SiteView, site: Site, *, judged: bool) -> RolloutSiteStatus:
        progress = running.progress(name)
        return RolloutSiteStatus(
            site=name,
            tier=site.tier,
            wave=known.wave,
            state=known.state.value,
            was=known.was.value if known.was else "",
            want=known.want.value,
            acting=known.acting.value,
            why=known.why,
            waiting=known.waiting,
            stage=progress.stage,
            stages=len(shares(running.head.specification.canary)),
            bytes_done=progress.bytes_done,
            bytes_total=progress.bytes_total,
            heard_s=site.heard_s,
            gates=self._site_gates(running, name, known.findings, judged=judged),
        )

    def _site_gates(self, running: Running, name: str, findings: Findings, *, judged: bool) -> tuple[GateStatus, ...]:
        if not judged:
            return tuple(_gates(running.head.specification.gates, findings, judged=False, bounded=False))
        seen = self._sites.get((running.head.name, name))
        if seen is None or seen[0] is not findings:
            gates = tuple(_gates(running.head.specification.gates, findings, judged=True, bounded=False))
            if len(self._sites) >= _MOST_KEPT * MOST_JUDGED:
                self._sites.clear()
            seen = self._sites[running.head.name, name] = (findings, gates)
        return seen[1]


def _gates(gates: Gates, findings: Findings, *, judged: bool, bounded: bool) -> Iterable[GateStatus]:
    for name, gate in gates.sampled().items():
        yield _gate(name, gate, findings.sampled.get(name, ()), judged=judged, bounded=bounded)
    if gates.golden:
        golden = findings.golden
        yield GateStatus(
            gate=GateName.GOLDEN.value,
            verdict=golden.verdict().value,
            margin=None,
            confidence=None,
            low=None,
            high=None,
            new_count=golden.complete,
            new_hits=golden.wrong,
            old_count=0,
            old_hits=0,
        )


def _gate(name: GateName, gate: Gate, evidence: tuple[Evidence, ...], *, judged: bool, bounded: bool) -> GateStatus:
    low, high = gate.bounds(evidence) if bounded and evidence else (None, None)
    compared = [one for one in evidence if isinstance(one, Compared)]
    observed = [one for one in evidence if isinstance(one, Observed)]
    # Of several comparisons of the same examples, the one that decides.
    pairs = [one for one in evidence if isinstance(one, Paired)]
    paired = [worst(pairs)] if pairs else []
    return GateStatus(
        gate=name.value,
        verdict=gate.verdict(evidence).value if judged else "",
        margin=gate.margin,
        confidence=gate.confidence,
        low=low,
        high=high,
        new_count=sum(one.new_count for one in compared)
        + sum(one.count for one in observed)
        + sum(one.count for one in paired),
        new_hits=sum(one.new_hits for one in compared)
        + sum(one.new_hits for one in paired)
        + sum(one.hits for one in observed),
        old_count=sum(one.old_count for one in compared) + sum(one.count for one in paired),
        old_hits=sum(one.old_hits for one in compared) + sum(one.old_hits for one in paired),
        sources=sum(one.sources for one in paired if one.rows),
    )
