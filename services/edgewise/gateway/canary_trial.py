"""What one request is to the canaries of the sites that it is sent to.

It is drawn once at each site: all its attempts there, at whichever endpoint, go to the same version, and its first answer
from there is counted. What is counted is what the version answered, which its site says:

- an answer of another version than the one that was drawn is not counted: that one was not there;
- a lost connection is nobody's fault and is not counted;
- a request that was on its way to another site and was saved here is not counted: it came in a rush with others;
- one that was given up while it waited counts as slow, once it has waited for longer than that, and as nothing else.
"""

from time import monotonic
from typing import TYPE_CHECKING

from edgewise.core.routing.calls import Attempt, Reason
from edgewise.gateway.canaries import Arm, Canary, InForce

if TYPE_CHECKING:
    from edgewise.gateway.canaries import Canaries


class _Place:
    """One request at one site.

    Attributes:
        attempt: the last one sent there, as long as it was not lost.
        counts: nothing of the request has been counted here, and it is to be.
    """

    __slots__ = ("arm", "attempt", "canary", "counts", "site")

    def __init__(self, site: str, canary: Canary, attempt: Attempt) -> None:
        self.site = site
        self.canary = canary
        self.arm: Arm = canary.draw()
        self.attempt: Attempt | None = attempt
        self.counts = attempt.reason is not Reason.RESCUE


class Trial:
    """One request's places; made by `enter`."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: list[_Place] = []

    def sent(self, attempt: Attempt, canaries: InForce) -> None:
        """An attempt is being sent; it may be the first one to its site."""
        place = self._at(attempt)
        if place is not None:
            place.attempt = attempt
            return
        site = attempt.link.site
        canary = canaries.get((site, attempt.request.model))
        if canary is not None:
            self._places.append(_Place(site, canary, attempt))

    def line(self, attempt: Attempt) -> bytes | None:
        """The header field for the site of an attempt; None where no canary is."""
        place = self._at(attempt)
        return None if place is None else place.arm.line

    def answered(self, attempt: Attempt, *, version: int, failed: bool, usable: bool) -> None:
        """A site's answer is whole, or has begun to come where it is long.

        Args:
            version: that answered; 0 where the site does not say.
            failed: it is an error that is the version's fault.
            usable: an app could use it.
        """
        place = self._at(attempt)
        if place is None or not place.counts:
            return
        place.counts = False
        arm, canary = place.arm, place.canary
        if version and version != arm.version:
            return
        arm.count += 1
        if failed:
            arm.errors += 1
        if usable:
            took_s = monotonic() - attempt.sent_s
            arm.latency_ms.add(took_s * 1e3)
            if canary.slow_s is not None:
                arm.timed += 1
                arm.slow += took_s > canary.slow_s

    def lost(self, attempt: Attempt) -> None:
        """An attempt ended without an answer."""
        place = self._at(attempt)
        if place is not None and place.attempt is attempt:
            place.attempt = None

    def given_up(self) -> None:
        """Nobody waits any more: the deadline has passed, or the app has gone."""
        for place in self._places:
            slow_s = place.canary.slow_s
            if place.counts and place.attempt is not None and slow_s is not None:
                took_s = monotonic() - place.attempt.sent_s
                if took_s > slow_s:
                    place.counts = False
                    place.arm.timed += 1
                    place.arm.slow += 1

    def to_shadow(self, attempt: Attempt, version: int, canaries: "Canaries") -> Canary | None:
        """The canary whose new version is to be asked as well, now that the app has this attempt's answer; mostly None.

        Args:
            version: that answered; 0 where the site does not say.
        """
        place = self._at(attempt)
        if place is None or place.arm is not place.canary.old or (version and version != place.arm.version):
            return None
        canary = place.canary
        return canary if canary in canaries and canary.draw_shadow() else None

    def _at(self, attempt: Attempt) -> _Place | None:
        site = attempt.link.site
        for place in self._places:
            if place.site == site:
                return place
        return None


def enter(trial: Trial | None, attempt: Attempt, canaries: InForce) -> Trial | None:
    """The trial of a request of which an attempt is being sent: the one it has, or a new one where its site has a canary."""
    if trial is None:
        if (attempt.link.site, attempt.request.model) not in canaries:
            return None
        trial = Trial()
    trial.sent(attempt, canaries)
    return trial
