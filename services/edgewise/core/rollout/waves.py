"""Which sites move together, in which order, and how many of them at once."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.selectors import Selector, parse_selector

_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of sites, or a share of them.

    Attributes:
        count: of sites; None when it is a share.
        share: 0..1 of the sites; None when it is a count.
    """

    count: int | None = None
    share: float | None = None

    def at_least_one_of(self, total: int) -> int:
        """Rounded up, and never none: for what has to go on. `Amount(share=0.25)` of 10 is 3, of 1 is 1, of 0 is 0."""
        wanted = self.count if self.count is not None else math.ceil(_exact(self.share or 0.0, total))
        return min(max(wanted, 1), total)

    def at_most_of(self, total: int) -> int:
        """Rounded down: for what may go wrong. `Amount(share=0.25)` of 10 is 2, of 3 is 0."""
        wanted = self.count if self.count is not None else math.floor(_exact(self.share or 0.0, total))
        return min(wanted, total)

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{(self.share or 0.0) * 100.0:g}%"


ALL: Final = Amount(share=1.0)
NONE: Final = Amount(count=0)
EVERY_SITE: Final = parse_selector("")


def parse_amount(value: object) -> Amount:
    """Understand 3 or "25%".

    Raises: InvalidArgumentError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Amount(count=value)
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())) and float(found[1]) <= 100.0:
        return Amount(share=float(found[1]) / 100.0)
    raise InvalidArgumentError(
        f'found {value!r}, expected a number of sites such as 3, or a share of them such as "25%", at most "100%"'
    )


@dataclass(frozen=True, slots=True)
class Wave:
    """Sites that move together.

    Attributes:
        name: for people.
        selector: which sites; those that an earlier wave took are not asked again.
        amount: how many of them.
        max_concurrent: how many of them may be switching at once.
        error_budget: how many of them may fail before the rollout does.
    """

    name: str
    selector: Selector = EVERY_SITE
    amount: Amount = ALL
    max_concurrent: Amount = Amount(share=0.25)
    error_budget: Amount = NONE


def plan_waves(waves: Sequence[Wave], sites: Mapping[str, Mapping[str, str]], *, key: str) -> list[list[str]]:
    """Which site is in which wave.

    A site belongs to the first wave whose selector means it. Of a wave that takes a part only, which sites are taken is drawn by `key`:
    the same for the same key and sites, and another part with another key, so that it is not always the same site that goes first.

    Args:
        sites: labels by the site's name.
        key: of the draw, such as the rollout's name.
    Returns: the sites of each wave, in the order in which they are told.
    """
    left = sorted(sites, key=lambda site: hashlib.sha256(f"{key}\n{site}".encode()).digest())
    planned = []
    for wave in waves:
        meant = [site for site in left if wave.selector.matches(sites[site])]
        taken = meant[: wave.amount.at_least_one_of(len(meant))]
        chosen = set(taken)
        left = [site for site in left if site not in chosen]
        planned.append(taken)
    return planned


def late_wave(waves: Sequence[Wave], labels: Mapping[str, str]) -> int | None:
    """Which wave a site joins that was not there when the rollout was planned: the last one that means it.

    A wave that takes a part of its sites has drawn it already, and takes no other.

    Returns: its number, from 0; None where no wave takes the site.
    """
    meant = [number for number, wave in enumerate(waves) if wave.amount == ALL and wave.selector.matches(labels)]
    return meant[-1] if meant else None


def _exact(share: float, total: int) -> float:
    """Share * total without the last bits, by which 0.07 * 100 is more than 7."""
    return round(share * total, 9)
