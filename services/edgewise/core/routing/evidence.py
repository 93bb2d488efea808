"""What answers and failures of requests say of the link: errors and broken connections, counted in a row.

And what the other endpoints of a site say of one of them: all together can be silent, or have become slow.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from edgewise.core.routing.calls import Failure, Outcome
from edgewise.core.routing.link_state import LinkEvent, LinkState

if TYPE_CHECKING:
    from edgewise.core.routing.calls import Instruction
    from edgewise.core.routing.link import Link
    from edgewise.core.routing.path import Path
    from edgewise.core.routing.settings import RouterSettings
    from edgewise.core.routing.watch import LinkWatch, Requests

_UP: Final = LinkState.UP
_RAMP: Final = LinkState.RAMP
_SEVERAL: Final = 2


def are_silent(links: "Sequence[Link]", settings: "RouterSettings", now_s: float) -> bool:
    """Whether it is no coincidence that nothing comes from any of several endpoints, that is, from their site.

    As for one link, what is in flight at all of them taken together.
    """
    if len(links) < _SEVERAL or sum(len(link.in_flight) for link in links) < settings.overdue_count - 1:
        return False
    heard_s = max(link.last_heard_s for link in links)
    if now_s - heard_s < settings.overdue_floor_s:
        return False
    evidence = sum(link.silence_evidence(0, heard_s, now_s) for link in links)
    stalls = sum(link.stall_evidence for link in links)
    return evidence > max(settings.silence_evidence, 1.5 * stalls)


def is_quicker_elsewhere(link: "Link", slow: "Path", others: "Iterable[Link]", now_s: float) -> bool:
    """Whether another site is up, or an endpoint of the same one on which the path has not become as slow."""
    up = [other for other in others if other.state is _UP]
    if any(not other.is_equal(link) for other in up):
        return True
    model, size_class = next((model, size_class) for model, size_class, path in link.paths() if path is slow)
    return any(other.path(model, size_class).latency.recently(now_s) <= slow.slow_s for other in up)


class Evidence:
    """Counts what blames a link, and has the watch move it when it is enough.

    Args:
        settings: floors, ratios and counts.
        requests: the router.
        watch: moves links.
    """

    def __init__(self, settings: "RouterSettings", requests: "Requests", watch: "LinkWatch") -> None:
        self._settings = settings
        self._requests = requests
        self._watch = watch

    def answered(
        self, link: "Link", outcome: Outcome, retry_after_s: float | None, now_s: float, out: "list[Instruction]"
    ) -> None:
        """An answer that blames the site, or one that does not."""
        if outcome is Outcome.OVERLOADED:
            link.errors += 1
            link.limiter.overloaded(now_s)
            if retry_after_s is not None and not link.probes and link.state is _UP:
                # It may be about to stop: its readiness says.
                self._watch.probe(link, 0, now_s, out, fresh=False)
        elif outcome is Outcome.SITE_ERROR:
            link.errors += 2
        else:
            return
        # On the ramp a few are too many, but for one model's that fails everywhere.
        settings = self._settings
        most = 2 * (settings.errors_in_a_row if link.state is _UP else settings.ramp_errors_in_a_row)
        if link.state in {_UP, _RAMP} and link.errors >= most and self._requests.has_alternative(link):
            self._watch.move(link, LinkEvent.DECLINED, "it answers with errors only", now_s, out)

    def broken(self, link: "Link", failure: Failure, now_s: float, out: "list[Instruction]") -> None:
        """A connection could not be made, or broke."""
        if failure is Failure.PROTOCOL or (failure is Failure.LOST and not self._requests.has_alternative(link)):
            # An answer that cannot be used says nothing of the way it came. And the last site is not left for what one
            # request may do to each of them.
            return
        link.resets += 1
        refused = failure is Failure.CONNECT and (link.resets > 1 or not link.in_flight)
        if refused or link.resets >= self._settings.resets_in_a_row or link.state is _RAMP:
            why = "connections cannot be made" if failure is Failure.CONNECT else "connections break"
            self._watch.move(link, LinkEvent.BROKEN, why, now_s, out)
