"""What a link is like: delay, jitter, loss and bandwidth, with the published numbers of named kinds of link.

All delays are one way; `Profile.rtt_ms` is what a round trip gains. Bandwidth counts payload, without TCP and IP headers.
"""

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from edgewise.core.errors import InvalidArgumentError

MAX_DELAY_MS: Final = 60_000.0
MAX_KBIT_S: Final = 100_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """A path that is exchanged for another one at regular times, as between satellites.

    Attributes:
        length_s: how long one path lasts.
        spread_ms: each path adds its own share to the one-way delay, uniform in -spread to +spread.
        begin_ms, end_ms: how long the two ends of a slot are disturbed.
        edge_ms: what a disturbed end adds to the one-way delay.
    """

    length_s: float
    spread_ms: float
    begin_ms: float
    end_ms: float
    edge_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a link does to what crosses it. Up is from the client to the server.

    Attributes:
        delay_up_ms, delay_down_ms: one way.
        jitter_ms: each way, uniform in -jitter to +jitter around the delay, as netem's without a distribution.
        loss_ratio: share of the segments that are lost, each way.
        up_kbit_s, down_kbit_s: bandwidth in 1000 bit/s; None is unlimited.
        slots: changes of path; None for a path that stays.
    """

    delay_up_ms: float = 0.0
    delay_down_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_ratio: float = 0.0
    up_kbit_s: float | None = None
    down_kbit_s: float | None = None
    slots: Slots | None = None

    def __post_init__(self) -> None:
        """Check.

        Raises: InvalidArgumentError: a value is out of range.
        """
        for name in ("delay_up_ms", "delay_down_ms", "jitter_ms"):
            value = getattr(self, name)
            if not 0 <= value <= MAX_DELAY_MS:
                raise InvalidArgumentError(f"{name} is {value:g}; expected 0 to {MAX_DELAY_MS:g} milliseconds")
        if not 0 <= self.loss_ratio < 1:
            raise InvalidArgumentError(f"loss_ratio is {self.loss_ratio:g}; expected 0 or more and less than 1")
        for name in ("up_kbit_s", "down_kbit_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= MAX_KBIT_S:
                raise InvalidArgumentError(
                    f"{name} is {value:g}; expected more than 0 and at most {MAX_KBIT_S:g}, or null for no limit"
                )

    @property
    def rtt_ms(self) -> float:
        """What a round trip gains, without jitter and queueing."""
        return self.delay_up_ms + self.delay_down_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Conditions with a name, and where their numbers are from.

    Attributes:
        name: such as "4g".
        source: who published which of the numbers.
        chosen: the numbers that no source gives, and why they are what they are; "" when there is none.
    """

    name: str
    conditions: Conditions
    source: str
    chosen: str = field(default="")


def _even(rtt_ms: float, **others: object) -> Conditions:
    """Half of the round trip each way."""
    return replace(Conditions(), delay_up_ms=rtt_ms / 2, delay_down_ms=rtt_ms / 2, **others)  # type: ignore[arg-type]


_ATC: Final = "Augmented Traffic Control (github.com/facebookarchive/augmented-traffic-control), utils/profiles/"
_LIGHTHOUSE: Final = "Lighthouse (github.com/GoogleChrome/lighthouse), core/config/constants.js, "
_WEBPAGETEST: Final = "WebPageTest (github.com/WPO-Foundation/webpagetest), www/settings/connectivity.ini.sample, "
_TENTH: Final = "jitter: a tenth of the one-way delay; the source gives none"

PROFILES: Final = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                name="none",
                conditions=Conditions(),
                source="no link at all: bytes pass as they come; only faults change anything",
            ),
            Profile(
                name="lan",
                conditions=_even(0, up_kbit_s=1_000_000, down_kbit_s=1_000_000),
                source="IEEE 802.3ab (1000BASE-T): 1 Gbit/s each way",
                chosen="no delay: that of a local network is below what this emulator can add",
            ),
            Profile(
                name="fibre",
                conditions=_even(4, up_kbit_s=5_000, down_kbit_s=20_000),
                source=_WEBPAGETEST + "FIOS: 4 ms RTT, 20/5 Mbit/s, no loss",
            ),
            Profile(
                name="cable",
                conditions=_even(4, up_kbit_s=1_000, down_kbit_s=6_000),
                source=_ATC + "Cable.json: 2 ms each way, 6000/1000 kbit/s, no jitter, no loss",
            ),
            Profile(
                name="dsl",
                conditions=_even(10, up_kbit_s=256, down_kbit_s=2_000),
                source=_ATC + "DSL.json: 5 ms each way, 2000/256 kbit/s, no jitter, no loss",
            ),
            Profile(
                name="4g",
                conditions=_even(40, jitter_ms=2, up_kbit_s=10_240, down_kbit_s=10_240),
                source=_LIGHTHOUSE + "desktopDense4G (25th percentile of dense 4G): 40 ms RTT, 10 × 1024 kbit/s",
                chosen=_TENTH,
            ),
            Profile(
                name="starlink",
                conditions=_even(
                    50,
                    jitter_ms=3,
                    loss_ratio=0.005,
                    up_kbit_s=13_540,
                    down_kbit_s=87_250,
                    slots=Slots(length_s=15, spread_ms=12, begin_ms=140, end_ms=75, edge_ms=25),
                ),
                source=(
                    "Michel et al., A First Look at Starlink Performance, IMC '22: RTT 50 ms in the median, 40 to 60 ms "
                    "in the middle half, 20 ms at least; Ookla, 3rd quarter of 2021: 87.25/13.54 Mbit/s in the median; "
                    "Mohan et al., A Multifaceted Look at Starlink Performance, WWW '24: the path changes every 15 s; "
                    "Casparsen et al., arXiv 2601.08439: spikes in the first 140 ms and the last 75 ms of each 15 s"
                ),
                chosen=(
                    "spread of the paths (12 ms each way) and jitter (3 ms), so that the least RTT is 20 ms; height of "
                    "the spikes (25 ms each way); loss (0.5 %)"
                ),
            ),
            Profile(
                name="slow-4g",
                conditions=_even(150, jitter_ms=7.5, up_kbit_s=750, down_kbit_s=1_638.4),
                source=_LIGHTHOUSE + "mobileSlow4G: 150 ms RTT, 1.6 × 1024/750 kbit/s, no loss",
                chosen=_TENTH,
            ),
            Profile(
                name="3g",
                conditions=_even(200, jitter_ms=10, up_kbit_s=330, down_kbit_s=780),
                source=_ATC + "3G-Average.json: 100 ms each way, 780/330 kbit/s, no loss",
                chosen=_TENTH,
            ),
            Profile(
                name="geo",
                conditions=_even(600, up_kbit_s=2_540, down_kbit_s=19_300),
                source=(
                    "Michel et al., A First Look at Starlink Performance, IMC '22: at least about 600 ms RTT over a "
                    "geostationary satellite; Ookla, 3rd quarter of 2021, HughesNet: 19.30/2.54 Mbit/s in the median"
                ),
                chosen="no jitter and no loss: neither source gives them",
            ),
            Profile(
                name="edge-lossy",
                conditions=Conditions(
                    delay_up_ms=440, delay_down_ms=400, loss_ratio=0.01, up_kbit_s=200, down_kbit_s=240
                ),
                source=_ATC + "Edge-Lossy.json: 440 ms up, 400 ms down, 240/200 kbit/s, 1 % loss each way, no jitter",
            ),
        )
    }
)


def profile_called(name: str) -> Profile:
    """A profile by its name.

    Raises: InvalidArgumentError: there is none; the message has those that there are.
    """
    found = PROFILES.get(name)
    if found is None:
        raise InvalidArgumentError(f"there is no profile {name!r}; expected one of {', '.join(PROFILES)}")
    return found
