"""So many requests of two versions as a draw for each of them would have divided, out of those that pods have divided.

Gateways and kube-proxy give each pod about as much as the next, so what reaches the new version is the share of its pods, more or less: one pod
beside three gets a quarter where a hundredth was asked for. The evidence of a canary (`core.rollout.sequential.Compared`) weighs a hit by the share
that was drawn with, and would take that quarter for 25 times as many errors. So of the version that got more than its share only as many requests
count as belong to it, errors in proportion; the rest waits until the other version has caught up.

With counts in the right proportion the evidence holds at any one look: hits are less spread in two samples of given sizes than in one that is
divided by draws, so by Jensen's inequality the product of the bets cannot be expected to grow under the hypothesis. And evidence of clusters adds up
with that of edge nodes, since the shares are the same.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Arm:
    """Requests of one version.

    Attributes:
        count, hits: that count.
        waiting, waiting_hits: that may count later.
        credit: the part of a hit that is due.
    """

    count: int = 0
    hits: int = 0
    waiting: int = 0
    waiting_hits: int = 0
    credit: float = 0.0

    @property
    def total(self) -> int:
        """All requests."""
        return self.count + self.waiting

    def add(self, count: int, hits: int) -> None:
        """More requests came."""
        self.waiting += count
        self.waiting_hits += min(hits, count)

    def let_count(self, until: int) -> None:
        """Have `until` requests count, with hits in proportion to those that wait."""
        taken = until - self.count
        if taken <= 0:
            return
        self.credit += self.waiting_hits * taken / self.waiting
        hits = min(int(self.credit + 1e-9), taken, self.waiting_hits)
        self.credit -= hits
        self.count, self.waiting = until, self.waiting - taken
        self.hits, self.waiting_hits = self.hits + hits, min(self.waiting_hits - hits, self.waiting)


@dataclass(slots=True)
class Thinning:
    """Two versions in one share.

    Attributes:
        share: of the new version, 0 < share < 1.
    """

    share: float
    new: Arm = field(default_factory=Arm)
    old: Arm = field(default_factory=Arm)

    def add(self, new: tuple[int, int], old: tuple[int, int]) -> None:
        """More requests came: (how many, how many of them hit) of each version."""
        self.new.add(*new)
        self.old.add(*old)
        odds = self.share / (1.0 - self.share)
        # Both grow with either total, so nothing that counted is ever taken back.
        new_count = min(self.new.total, int(self.old.total * odds + 1e-9))
        old_count = min(self.old.total, int(self.new.total / odds + 1e-9))
        self.new.let_count(new_count)
        self.old.let_count(old_count)
