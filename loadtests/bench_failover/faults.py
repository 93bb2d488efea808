"""What can go wrong, as steps on a time line: a fault begins at 0 s and is over at `lasts_s`."""

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to the world.

    Attributes:
        at_s: seconds from the beginning of the fault.
        action: a method of the world.
    """

    at_s: float
    action: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and what the app is to see of it.

    Attributes:
        steps: the first begins it, the last ends it.
        edge_service_ms: mean; at 200 requests/s, 3 ms is a utilisation of 0.6.
        deadline_ms: that the app gives each request; 0 for none.
        bars: which of the bars hold here; see `bars.py`.
        note: why a bar does not hold here, for the report.
        by_name: the gateway knows the cloud by name.
        by_link: the link emulator can do it too.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    edge_service_ms: float = 3.0
    deadline_ms: float = 0.0
    bars: tuple[str, ...] = ()
    note: str = ""
    by_name: bool = False
    by_link: bool = False

    @property
    def lasts_s(self) -> float:
        """From its beginning to its end."""
        return self.steps[-1].at_s


FAULT_S: Final = 10.0
_SAFE: Final = ("lost", "errors", "ghosts")
_FULL: Final = (*_SAFE, "first", "rest", "switch", "failback", "back", "duplicates")


def _lasting(action: str, undo: str = "mend", /, **arguments: Any) -> tuple[Step, ...]:
    return Step(0.0, action, arguments), Step(FAULT_S, undo)


def _flapping(period_s: float, lasts_s: float = 20.0) -> tuple[Step, ...]:
    count = round(lasts_s / period_s / 2)
    steps = [
        step
        for number in range(count)
        for step in (
            Step(2 * number * period_s, "cut", {"way": "both"}),
            Step((2 * number + 1) * period_s, "mend"),
        )
    ]
    return tuple(steps)


FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault("none", "no fault", (Step(0.0, "mend"), Step(FAULT_S, "mend")), bars=(*_SAFE, "alarm"), by_link=True),
        Fault("cut", "cut: DROP both ways", _lasting("cut", way="both"), bars=_FULL, by_link=True),
        Fault("cut-up", "DROP towards the cloud", _lasting("cut", way="up"), bars=_FULL, by_link=True),
        Fault("cut-down", "DROP from the cloud", _lasting("cut", way="down"), bars=_FULL, by_link=True),
        Fault(
            "size",
            "DROP of packets > 1200 bytes",
            _lasting("swallow", over_bytes=1200),
            bars=(*_FULL, "trip"),
            by_link=True,
        ),
        Fault("rst", "RST to every packet", _lasting("reset"), bars=_FULL, by_link=True),
        Fault("fin", "FIN: the cloud closes all and listens no more", _lasting("leave", "come_back"), bars=_FULL),
        Fault("down", "interface down", _lasting("take_down", "bring_up"), bars=_FULL),
        Fault("stop", "SIGSTOP of the cloud", _lasting("freeze", "thaw"), bars=_FULL, by_link=True),
        Fault("kill", "kill -9 of the cloud, restarted", _lasting("kill", "revive"), bars=_FULL, by_link=True),
        Fault(
            "slow",
            "cloud 10 × slower",
            (Step(0.0, "slow", {"factor": 10.0}), Step(FAULT_S, "slow", {"factor": 1.0})),
            bars=(*_SAFE, "back"),
            note="it answers, and slow answers are no cut: how many are asked of the edge is bounded by the route's hedges "
            "and by the limit that the gateway learns for the cloud",
            by_link=True,
        ),
        Fault(
            "drip",
            "drip: answers come byte by byte, 0.1 s apart",
            (Step(0.0, "drip", {"on": True}), Step(FAULT_S, "drip", {"on": False})),
            bars=(*_SAFE, "switch", "rest", "failback", "back", "duplicates"),
            by_link=True,
        ),
        Fault(
            "squeeze",
            "64 kbit/s each way",
            _lasting("squeeze", bits_per_s=64_000),
            bars=("lost", "errors", "rest", "back"),
            note="packets go on coming; what is in the line's own queue (64 kB, 8 s) at the switch arrives in the end and is run",
            by_link=True,
        ),
        Fault(
            "flap-0.2", "flap: 0.2 s cut, 0.2 s well", _flapping(0.2), bars=(*_SAFE, "flap", "duplicates"), by_link=True
        ),
        Fault("flap-1", "flap: 1 s cut, 1 s well", _flapping(1.0), bars=(*_SAFE, "flap", "duplicates"), by_link=True),
        Fault("flap-5", "flap: 5 s cut, 5 s well", _flapping(5.0), bars=(*_SAFE, "flap", "duplicates"), by_link=True),
        Fault(
            "dns",
            "cut, and the cloud's name is gone for good",
            (Step(0.0, "forget_names"), Step(0.0, "cut", {"way": "both"}), Step(FAULT_S, "mend")),
            bars=_FULL,
            by_name=True,
        ),
        Fault(
            "failback-cut",
            "cut during failback: 5 s cut, 1 s well, 4 s cut",
            (
                Step(0.0, "cut", {"way": "both"}),
                Step(5.0, "mend"),
                Step(6.0, "cut", {"way": "both"}),
                Step(FAULT_S, "mend"),
            ),
            bars=(*_SAFE, "first", "rest between", "failback", "duplicates"),
            note="the second cut lengthens the hold-down, so the way back may take longer than 3 s; what the cloud answers "
            "in the second between takes as long as before",
            by_link=True,
        ),
        Fault(
            "busy-0.8",
            "cut with the edge at 0.8",
            _lasting("cut", way="both"),
            edge_service_ms=4.0,
            bars=(*_SAFE, "rest", "switch", "failback", "back", "duplicates"),
            note="the rescued requests wait for one another at the edge",
            by_link=True,
        ),
        Fault(
            "busy-1.1",
            "cut with the edge at 1.1",
            _lasting("cut", way="both"),
            edge_service_ms=5.5,
            deadline_ms=1000.0,
            bars=("lost", "shed", "deadline", "ghosts", "back"),
            note="a tenth more comes than the edge can answer: 503 with Retry-After is the right answer to it",
            by_link=True,
        ),
        Fault(
            "both",
            "both sites down",
            (
                Step(0.0, "cut", {"way": "both"}),
                Step(0.0, "kill_edge"),
                Step(FAULT_S, "revive_edge"),
                Step(FAULT_S, "mend"),
            ),
            bars=("clear", "ghosts", "back"),
            note="nobody can answer: the app is told so",
            by_link=True,
        ),
    )
}

CORE: Final = ("cut",)
"""What all opponents are put through at every RTT."""

REAL: Final = ("cut", "size", "rst", "stop", "kill")
"""What is tried with real model servers as well."""
