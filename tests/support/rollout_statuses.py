"""Rollouts, plans and sites as a hub tells of them."""

from edgewise.core.rollout.reports import Inventory, Served
from edgewise.core.rollout.specification import Specification
from edgewise.core.rollout.waves import Wave
from edgewise.hub.control.planning import Plan, Problem, ProblemKind, SitePlan, WavePlan
from edgewise.hub.control.status import (
    GateStatus,
    HistoryEntry,
    OrderStatus,
    RolloutSiteStatus,
    RolloutStatus,
    RolloutSummary,
    SiteStatus,
    WaveStatus,
)
from edgewise.protocols.rollout_specification_text import specification_text

NOW_S = 1_795_428_000.0
NAME = "pets-2-k3f9"
_GATE = GateStatus("errors", "Inconclusive", 0.01, 0.99, -0.004, 0.012, 200, 3, 190, 2)


def site_of(name, state, *, wave=0, why="", **words):
    """A site of the rollout."""
    known = {
        "was": "",
        "want": "run",
        "acting": "run",
        "waiting": False,
        "stage": 2,
        "stages": 5,
        "bytes_done": 0,
        "bytes_total": 0,
        "heard_s": NOW_S - 3.0,
        "gates": (),
    }
    return RolloutSiteStatus(site=name, tier="edge", wave=wave, state=state, why=why, **{**known, **words})


def wave_of(number, name, phase, states, *, verdict="Inconclusive", gates=(_GATE,)):
    """A wave of the rollout."""
    return WaveStatus(
        number=number,
        name=name,
        selector="",
        phase=phase,
        verdict=verdict,
        promoted=False,
        since_s=NOW_S,
        sites=sum(states.values()),
        states=states,
        failed=0,
        may_fail=0,
        at_once=1,
        gates=gates,
    )


def rollout(state="Progressing", *, revision=4, why="started by ops", waves=None, sites=None):
    """A rollout in its first wave."""
    specification = Specification("pets", 2, (Wave("canary"), Wave("everyone")))
    default_sites = (
        site_of("factory-7", "Verifying"),
        site_of("factory-8", "Downloading", wave=1, want="stage", acting="stage", bytes_done=5, bytes_total=10_000_000),
    )
    return RolloutStatus(
        name=NAME,
        model="pets",
        version=2,
        state=state,
        why=why,
        revision=revision,
        created_s=NOW_S - 600.0,
        created_by="ops",
        changed_s=NOW_S - 60.0,
        specification=specification_text(specification),
        form="toml",
        verbs=("pause", "promote", "abort"),
        waves=waves
        or (
            wave_of(0, "canary", "open", {"Verifying": 1}),
            wave_of(1, "everyone", "waiting", {"Downloading": 1}, gates=()),
        ),
        sites=default_sites if sites is None else sites,
    )


def summary(state="Progressing"):
    """The same in short."""
    return RolloutSummary(
        NAME,
        "pets",
        2,
        state,
        "started by ops",
        4,
        NOW_S - 600.0,
        "ops",
        NOW_S - 60.0,
        2,
        {"Verifying": 1, "Downloading": 1},
    )


def entry(number, kind="site", subject="factory-7", before="Staged", after="Activating", why=""):
    """Something that moved."""
    return HistoryEntry(number, NOW_S + number, kind, subject, before, after, why)


def plan(*, stops=True):
    """What the rollout would do."""
    disk = Problem(ProblemKind.DISK, stops=stops, text="3.0 MB are free on its disk, and 14 MB are needed")
    offline = Problem(ProblemKind.OFFLINE, stops=False, text="it is offline since 2 h")
    waves = (
        WavePlan(
            0,
            "canary",
            "tier=edge",
            1,
            0,
            720.0,
            (SitePlan("factory-7", "edge", 1, "edge", 14_000_000, 1_400_000, 12.0, (disk,)),),
        ),
        WavePlan(
            1,
            "everyone",
            "",
            1,
            2,
            1440.0,
            (SitePlan("factory-8", "edge", 0, "edge", 14_000_000, 14_000_000, None, (offline,)),),
        ),
    )
    return Plan("pets", 2, 15_400_000, 2172.0, (), waves, ("lab-1",))


def site(name="factory-7", **words):
    """A site."""
    known = {
        "tier": "edge",
        "labels": {"region": "eu", "gpu": ""},
        "enrolled_s": NOW_S - 86400.0,
        "heard_s": NOW_S - 3.0,
        "online": True,
        "reported_s": NOW_S - 12.0,
        "generation": 17,
        "following": 16,
        "clock_ahead_s": -400.0,
        "retired_s": None,
        "inventory": Inventory(
            agent="0.1.0",
            disk_free_bytes=3_000_000,
            bandwidth_bytes_per_s=1.2e6,
            runtimes={"onnxruntime": "1.24.0"},
            models={"pets": (1, 2)},
            serving={"pets": 1},
            edge={"pets": Served(120, 1, 8.4, 30.1)},
        ),
        "orders": (OrderStatus(NAME, "pets", 2, "run"),),
        "states": {NAME: "Verifying"},
    }
    return SiteStatus(site=name, **{**known, **words})
