"""What each site would do in a rollout, what it would cost, and what would stop it: calculations without a memory."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.releases import EVERY_TIER, Release, ReleaseFile, Variant, missing_pieces
from edgewise.core.rollout.reports import Inventory
from edgewise.core.rollout.specification import Canary, Specification
from edgewise.protocols.documents import time_s, time_text
from edgewise.protocols.heldout import FOLDER, NAME

CLOCK_S: Final = 300.0
_RUNTIMES: Final = {".onnx": "onnxruntime", "saved_model.pb": "tensorflow"}
"""What a variant with a file that ends so needs."""
_EXAMPLES: Final = f"{FOLDER}/{NAME}"


class ProblemKind(StrEnum):
    """What a plan looks at."""

    DISK = "disk"
    MEMORY = "memory"
    RUNTIME = "runtime"
    CERTIFICATE = "certificate"
    CLOCK = "clock"
    QUOTA = "quota"
    FLOOR = "floor"
    VARIANT = "variant"
    EXAMPLES = "examples"  # a gate asks for what the release does not carry
    OFFLINE = "offline"
    CURRENT = "current"  # it runs the version already
    TAKEN = "taken"  # another rollout in progress has it, and would lose it
    SITES = "sites"  # a wave without sites


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person should know before he starts.

    Attributes:
        stops: the site, or the rollout, would get no further while this is so.
        text: what is so, and what would be right.
    """

    kind: ProblemKind
    stops: bool
    text: str

    @property
    def later(self) -> bool:
        """Whether the rollout goes on without the site, which catches up by itself."""
        return self.kind == ProblemKind.OFFLINE and not self.stops


@dataclass(frozen=True, slots=True)
class Site:
    """What a plan has to know of a site.

    Attributes:
        heard_s: when it was heard of last; None for never.
        clock_ahead_s: its clock less the hub's; None where that is not known.
        taken_by: the rollout of the same model in which it is already, and that is under way; "" for none.
    """

    name: str
    tier: str
    heard_s: float | None
    clock_ahead_s: float | None
    inventory: Inventory
    taken_by: str = ""


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What one site would do.

    Attributes:
        runs: the version that answers now; 0 for none, or when nobody knows.
        variant: the tier whose files it would fetch, `any` where there is one for all; "" for none.
        size_bytes: of all files of the variant.
        fetch_bytes: of those, what it does not have.
        seconds: for fetching, at the bandwidth that was measured; None where it is not known.
    """

    site: str
    tier: str
    runs: int
    variant: str
    size_bytes: int
    fetch_bytes: int
    seconds: float | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class WavePlan:
    """What one wave would do.

    Attributes:
        at_once, may_fail: numbers of sites.
        seconds: that its stages and bakes take at least, one group of sites after another.
    """

    number: int
    name: str
    selector: str
    at_once: int
    may_fail: int
    seconds: float
    sites: tuple[SitePlan, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollout would do.

    Attributes:
        fetch_bytes: of all sites together.
        seconds: that the rollout takes at least: the slowest fetch that is known, and each wave.
        problems: of the rollout as a whole.
        left_out: sites that are in no wave.
    """

    model: str
    version: int
    fetch_bytes: int
    seconds: float
    problems: tuple[Problem, ...]
    waves: tuple[WavePlan, ...]
    left_out: tuple[str, ...]


def plan_rollout(
    specification: Specification,
    release: Release,
    waves: Sequence[Sequence[str]],
    sites: Mapping[str, Site],
    *,
    known: Mapping[int, Release],
    floor: int,
    now_s: float,
) -> Plan:
    """What a rollout would do if it were started now.

    Args:
        release: of the specification.
        waves: the sites of each wave, as `core.rollout.waves.plan_waves` gives them.
        sites: every site, by name.
        known: releases of the model by version, of which sites may have parts already.
        floor: the least version that a site may run; 0 for any.
        now_s: seconds since the epoch.
    """
    times = [_wave_s(specification, number, len(names)) for number, names in enumerate(waves)]
    fetching = _Fetching(release, known)
    planned = [_planned(sites[name], specification, fetching) for names in waves for name in names]
    known_s = [one.seconds for one in planned if one.seconds is not None]
    seconds = max(known_s, default=0.0) + sum(times)
    by_name = {one.site: one for one in planned}
    ends_s = now_s + seconds
    wave_plans = tuple(
        WavePlan(
            number=number,
            name=wave.name,
            selector=wave.selector.text,
            at_once=wave.max_concurrent.at_least_one_of(len(names)),
            may_fail=wave.error_budget.at_most_of(len(names)),
            seconds=times[number],
            sites=tuple(
                replace(
                    by_name[name],
                    problems=tuple(
                        _problems(by_name[name], sites[name], specification, fetching, between_s=(now_s, ends_s))
                    ),
                )
                for name in names
            ),
        )
        for number, (wave, names) in enumerate(zip(specification.waves, waves, strict=True))
    )
    problems = [problem for wave in wave_plans for problem in _wave_problems(wave)]
    if specification.version < floor:
        problems.append(
            Problem(
                ProblemKind.FLOOR,
                stops=True,
                text=f"version {specification.version} is below {floor}, the least that the signed policy lets a site run",
            )
        )
    return Plan(
        model=specification.model,
        version=specification.version,
        fetch_bytes=sum(one.fetch_bytes for one in planned),
        seconds=seconds,
        problems=tuple(problems),
        waves=wave_plans,
        left_out=tuple(sorted(sites.keys() - by_name.keys())),
    )


class _Fetching:
    """What sites have to fetch; those that are alike are looked at once."""

    def __init__(self, release: Release, known: Mapping[int, Release]) -> None:
        self._release = release
        self._known = known
        self._missing: dict[tuple[str, tuple[int, ...]], int] = {}

    def variant(self, tier: str) -> tuple[str, Variant | None]:
        """What a site of a tier runs, and under which name; ("", None) when there is nothing for it."""
        for name in (EVERY_TIER, tier):
            if name in self._release.variants:
                return name, self._release.variants[name]
        return "", None

    def missing_bytes(self, site: Site) -> int:
        """How much of its variant a site does not have."""
        loaded = site.inventory.models.get(self._release.model, ())
        key = (site.tier, tuple(sorted(loaded)))
        if key not in self._missing:
            self._missing[key] = self._count(*key)
        return self._missing[key]

    def _count(self, tier: str, versions: tuple[int, ...]) -> int:
        _, variant = self.variant(tier)
        if variant is None or self._release.version in versions:
            return 0
        there = {
            chunk.sha256
            for version in versions
            if version in self._known
            for file in self._files(self._known[version], tier)
            for chunk in file.chunks
        }
        return sum(piece.end - piece.start for file in variant.files for piece in missing_pieces(file, there))

    @staticmethod
    def _files(release: Release, tier: str) -> Iterator[ReleaseFile]:
        for name in (EVERY_TIER, tier):
            if name in release.variants:
                yield from release.variants[name].files


def _wave_s(specification: Specification, number: int, sites: int) -> float:
    """For how long a wave's sites switch, at least: so many at once, one group after another."""
    if not sites:
        return 0.0
    at_once = specification.waves[number].max_concurrent.at_least_one_of(sites)
    return math.ceil(sites / at_once) * _canary_s(specification.canary)


def _canary_s(canary: Canary) -> float:
    return canary.shadow_s + canary.stage_s * len(canary.shares) + canary.bake_s


def _planned(site: Site, specification: Specification, fetching: _Fetching) -> SitePlan:
    name, variant = fetching.variant(site.tier)
    fetch_bytes = fetching.missing_bytes(site)
    speed = site.inventory.bandwidth_bytes_per_s
    return SitePlan(
        site=site.name,
        tier=site.tier,
        runs=site.inventory.serving.get(specification.model, 0),
        variant=name,
        size_bytes=variant.size_bytes if variant is not None else 0,
        fetch_bytes=fetch_bytes,
        seconds=fetch_bytes / speed if speed else (None if fetch_bytes else 0.0),
        problems=(),
    )


def _wave_problems(wave: WavePlan) -> Iterator[Problem]:
    if not wave.sites:
        text = f"the wave {wave.name} has no sites: none is meant by {wave.selector!r}"
        yield Problem(ProblemKind.SITES, stops=False, text=text)
    elif all(any(problem.later for problem in site.problems) for site in wave.sites):
        # A wave passes with one Active site at least.
        text = f"no site of the wave {wave.name} is online, and it cannot pass before one of them is"
        yield Problem(ProblemKind.OFFLINE, stops=True, text=text)


def _problems(
    planned: SitePlan,
    site: Site,
    specification: Specification,
    fetching: _Fetching,
    *,
    between_s: tuple[float, float],
) -> Iterator[Problem]:
    """What would stop one site, and what is worth knowing of it."""
    now_s, ends_s = between_s
    _, variant = fetching.variant(site.tier)
    if variant is None:
        yield Problem(ProblemKind.VARIANT, stops=True, text=f"the release has no files for the tier {site.tier}")
        return
    if specification.gates.accuracy and planned.runs and all(file.path != _EXAMPLES for file in variant.files):
        text = f"the gate accuracy is asked for, and the release carries no held-out examples ({_EXAMPLES})"
        yield Problem(ProblemKind.EXAMPLES, stops=True, text=text)
    if planned.runs == specification.version:
        yield Problem(ProblemKind.CURRENT, stops=False, text=f"it runs version {specification.version} already")
    if site.taken_by:
        yield Problem(ProblemKind.TAKEN, stops=False, text=f"it is taken over from the rollout {site.taken_by}")
    if site.heard_s is None:
        text = "it was never heard of; it catches up when its agent runs"
        yield Problem(ProblemKind.OFFLINE, stops=False, text=text)
    elif now_s - site.heard_s > specification.silent_s:
        text = f"it is offline since {time_text(site.heard_s)}; it catches up when it is back"
        yield Problem(ProblemKind.OFFLINE, stops=False, text=text)
    yield from _shortages(planned, site.inventory)
    yield from _missing_runtimes(variant, site.inventory)
    yield from _wrong_times(site, ends_s)


def _shortages(planned: SitePlan, inventory: Inventory) -> Iterator[Problem]:
    # What a site has already is copied from there: on the disk the new version needs all of its size.
    disk, memory, quota = inventory.disk_free_bytes, inventory.memory_free_bytes, inventory.quota_left_bytes
    if planned.fetch_bytes and disk is not None and disk < planned.size_bytes:
        text = f"{_size(planned.size_bytes)} do not fit on its disk, which has {_size(disk)} left"
        yield Problem(ProblemKind.DISK, stops=True, text=text)
    if planned.runs and memory is not None and memory < planned.size_bytes:
        text = f"{_size(planned.size_bytes)} do not fit into its memory beside what runs: {_size(memory)} are left"
        yield Problem(ProblemKind.MEMORY, stops=True, text=text)
    if quota is not None and quota < planned.fetch_bytes:
        text = f"{_size(planned.fetch_bytes)} are to be fetched, {_size(quota)} are left of its quota of today"
        yield Problem(ProblemKind.QUOTA, stops=False, text=text)


def _missing_runtimes(variant: Variant, inventory: Inventory) -> Iterator[Problem]:
    """A site that names no runtimes does not say which it has."""
    for ending, runtime in _RUNTIMES.items():
        needed = any(file.path.endswith(ending) for file in variant.files)
        if needed and inventory.runtimes and runtime not in inventory.runtimes:
            there = ", ".join(sorted(inventory.runtimes))
            text = f"the release needs {runtime}; the site has {there}"
            yield Problem(ProblemKind.RUNTIME, stops=True, text=text)


def _wrong_times(site: Site, ends_s: float) -> Iterator[Problem]:
    expires = site.inventory.certificate_expires
    if expires:
        try:
            expires_s = time_s(expires)
        except InvalidArgumentError:
            text = f"nobody can say when its certificate expires: {expires!r}"
            yield Problem(ProblemKind.CERTIFICATE, stops=False, text=text)
        else:
            if expires_s < ends_s:
                text = f"its certificate expires {expires}, before the rollout can end ({time_text(ends_s)})"
                yield Problem(ProblemKind.CERTIFICATE, stops=True, text=text)
    ahead_s = site.clock_ahead_s
    if ahead_s is not None and abs(ahead_s) > CLOCK_S:
        text = f"its clock is {abs(ahead_s):.0f} s {'ahead' if ahead_s > 0.0 else 'behind'}; set it right"
        yield Problem(ProblemKind.CLOCK, stops=True, text=text)


def _size(count: int) -> str:
    """For people: 1.5 GB, 20 MB, 312 kB, 17 bytes."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
