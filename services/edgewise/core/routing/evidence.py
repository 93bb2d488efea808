"""What answers and failures of requests say of the link: errors and broken connections, counted in a row."""

from typing import TYPE_CHECKING, Final

from edgewise.core.routing.calls import Failure, Outcome
from edgewise.core.routing.link_state import LinkEvent, LinkState

if TYPE_CHECKING:
    from edgewise.core.routing.calls import Instruction
    from edgewise.core.routing.link import Link
    from edgewise.core.routing.settings import RouterSettings
    from edgewise.core.routing.watch import LinkWatch, Requests

_UP: Final = LinkState.UP
_RAMP: Final = LinkState.RAMP


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
